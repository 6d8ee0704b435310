"""The output formats of a result, by their names in gate.yml."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from gate.report.redact import redact
from gate.report.result import Result, to_json
from gate.samples import Pairing

Form = Literal["markdown", "json", "html", "junit", "attestation"]


def render(form: Form, result: Result, pairing: Pairing | None = None, secrets: Sequence[str] = ()) -> str:
    """Return a result in one format.

    Parameters
    ----------
    pairing : Pairing, optional
        The samples behind the result; without them, the HTML report has the worst flips only.
    secrets : sequence of str
        Replaced by `***` in every text.

    Raises
    ------
    SampleError
        An attestation of a result without hashes of its weights or tasks.
    """
    # imported where used: showing a verdict needs none of them
    if form == "attestation":
        # redacts after building, because it looks tasks up by name, and a name may equal a secret
        from gate.report.attestation import render_statement

        return render_statement(result, secrets)
    result = redact(result, secrets)
    if form == "markdown":
        from gate.report.markdown import render_markdown

        return render_markdown(result)
    if form == "html":
        from gate.report.detail import build_detail
        from gate.report.html import render_html

        return render_html(result, None if pairing is None else redact(build_detail(pairing), secrets))
    if form == "junit":
        from gate.report.junit import render_junit

        return render_junit(result)
    return to_json(result)
