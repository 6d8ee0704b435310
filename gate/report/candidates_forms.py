"""The output formats of a result on several candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gate.report.candidates import CandidatesResult, candidates_json
from gate.report.forms import Form
from gate.report.redact import redact
from gate.samples import Pairing


def render_candidates(form: Form, result: CandidatesResult, secrets: Sequence[str] = ()) -> str:
    """Return a result on several candidates in one format."""
    return candidates_json(redact(result, secrets))


def candidates_files(
    files: Mapping[Form, str],
    result: CandidatesResult,
    pairings: Mapping[str, Pairing],
    secrets: Sequence[str] = (),
) -> Iterator[tuple[str, str]]:
    """Yield path and text of each report file."""
    for form, path in files.items():
        yield path, render_candidates(form, result, secrets)
