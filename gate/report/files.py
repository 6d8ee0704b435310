"""The report files of a result: what each holds, rendered only when it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath

from gate.report.candidates import AnyResult, CandidatesResult
from gate.report.candidates_forms import render_candidates
from gate.report.forms import Form, render
from gate.report.result import Result
from gate.samples import Pairing


@dataclass(frozen=True)
class ReportFile:
    """A report file: its format, its path as configured, and a function that renders its text."""

    form: Form
    path: str
    text: Callable[[], str]


def report_files(
    files: Mapping[Form, str],
    result: AnyResult,
    pairings: Mapping[str, Pairing],
    secrets: Sequence[str] = (),
) -> list[ReportFile]:
    """Return the report files of a result, result.json first: the others can be rendered from it.

    With several candidates there is an HTML page of each, beside the one of the whole run.

    Parameters
    ----------
    files : mapping of format to path
    pairings : mapping of str to Pairing
        By candidate; a single one is called "candidate".
    secrets : sequence of str
        Replaced by `***` in every text.
    """
    found: list[ReportFile] = []
    for form, path in sorted(files.items(), key=lambda entry: entry[0] != "json"):
        if isinstance(result, Result):
            text = partial(render, form, result, pairings.get("candidate"), secrets)
            found.append(ReportFile(form, path, text))
        else:
            found += _of_candidates(form, path, result, pairings, secrets)
    return found


def _of_candidates(
    form: Form, path: str, result: CandidatesResult, pairings: Mapping[str, Pairing], secrets: Sequence[str]
) -> Iterator[ReportFile]:
    pages: dict[str, str] = {}
    for candidate in result.candidates if form == "html" else ():
        page = page_of(path, candidate.name)
        pages[candidate.name] = PurePath(page).name
        yield ReportFile(form, page, partial(render, form, candidate.result, pairings.get(candidate.name), secrets))
    yield ReportFile(form, path, partial(render_candidates, form, result, secrets, pages))


def page_of(path: str, name: str) -> str:
    """Return the path of the HTML report on one candidate: `report.html` gives `report-int8.html`."""
    page = PurePath(path)
    return str(page.with_name(f"{page.stem}-{name}{page.suffix}"))
