"""`gate report`: re-render a result."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

if TYPE_CHECKING:
    from gate.report import Form


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
@click.option("-o", "--out", type=click.Path(path_type=Path), help="File to write; default: standard output.")
def command(result: Path, form: str, out: Path | None) -> int:
    """Render RESULT (a result.json) in another format. Exits with 0 for every verdict.

    HTML rendered from a result has the worst flips only; `gate run` and `gate compare` write it with all flips. An
    attestation is an unsigned in-toto Statement.
    """
    from gate.cli.console import Terminal
    from gate.common.files import write_text
    from gate.report import print_result, read_result, render
    from gate.report.redact import secrets_of

    loaded = read_result(result)
    if form == "terminal":
        print_result(loaded, Terminal().out)
        return 0
    text = render(cast("Form", form), loaded, secrets=secrets_of(os.environ))
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text(out, text)
    return 0
