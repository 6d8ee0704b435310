"""The output formats of a result on several candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gate.report.candidates import AnyResult, CandidatesResult, candidates_json
from gate.report.forms import Form, render
from gate.report.redact import redact


def render_candidates(
    form: Form, result: CandidatesResult, secrets: Sequence[str] = (), pages: Mapping[str, str] | None = None
) -> str:
    """Return a result on several candidates in one format.

    Parameters
    ----------
    secrets : sequence of str
        Replaced by `***` in every text.
    pages : mapping of str to str, optional
        Addresses of the HTML reports on single candidates, by name.

    Raises
    ------
    SampleError
        An attestation of a result without hashes of its weights or tasks.
    """
    # imported where used: showing a verdict needs none of them
    if form == "attestation":
        from gate.report.attestation import render_statement

        text = candidates_json(redact(result, secrets))
        statements = (render_statement(one.result, secrets, text) for one in result.candidates)
        return "".join(" ".join(line.strip() for line in one.splitlines()) + "\n" for one in statements)
    result = redact(result, secrets)
    if form == "markdown":
        from gate.report.candidates_markdown import render_candidates_markdown

        return render_candidates_markdown(result)
    if form == "html":
        from gate.report.candidates_html import render_candidates_html

        return render_candidates_html(result, pages)
    if form == "junit":
        from gate.report.junit import render_junit

        return render_junit(result)
    return candidates_json(result)


def render_any(form: Form, result: AnyResult, secrets: Sequence[str] = ()) -> str:
    """Return the result of one or of several candidates in one format; errors as for `render`."""
    if isinstance(result, CandidatesResult):
        return render_candidates(form, result, secrets)
    return render(form, result, secrets=secrets)
