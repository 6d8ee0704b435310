"""`gate report`: re-render a result."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

if TYPE_CHECKING:
    from gate.report import Form, Result
    from gate.report.candidates import AnyResult


@click.command()
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["terminal", "markdown", "json", "html", "junit", "attestation"]),
    default="terminal",
    show_default=True,
    help="Output format.",
)
@click.option("--candidate", help="Of several candidates, only this one.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="File to write; default: standard output.")
def command(result: Path, form: str, candidate: str | None, out: Path | None) -> int:
    """Render RESULT (a result.json) in another format. Exits with 0 for every verdict.

    HTML rendered from a result has the worst flips only; `gate run` and `gate compare` write it with all flips. An
    attestation is an unsigned in-toto Statement.
    """
    from gate.cli.console import Terminal
    from gate.common.files import write_text
    from gate.report import print_result
    from gate.report.candidates import CandidatesResult, read_any_result
    from gate.report.candidates_forms import render_any
    from gate.report.candidates_terminal import print_candidates
    from gate.report.redact import secrets_of

    loaded = read_any_result(result)
    if candidate is not None:
        loaded = _one(loaded, candidate, result)
    if form == "terminal":
        if isinstance(loaded, CandidatesResult):
            print_candidates(loaded, Terminal().out)
        else:
            print_result(loaded, Terminal().out)
        return 0
    text = render_any(cast("Form", form), loaded, secrets_of(os.environ))
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text(out, text)
    return 0


def _one(result: AnyResult, name: str, path: Path) -> Result:
    """Return the result of one of several candidates."""
    from gate.errors import ConfigError
    from gate.report.candidates import CandidatesResult

    if not isinstance(result, CandidatesResult):
        raise ConfigError(f"--candidate: {path} has one candidate.", "Leave the option out.")
    names = [candidate.name for candidate in result.candidates]
    if name not in names:
        raise ConfigError(f"--candidate: {path} has no candidate {name}; it has: {', '.join(names)}.")
    return result[name]
