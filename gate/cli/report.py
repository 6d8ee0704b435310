"""`gate report`: render a result again."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "-f", "--format", "form", type=click.Choice(["terminal", "markdown", "json"]), default="terminal"
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="File to write; default standard output.")
def command(result: Path, form: str, out: Path | None) -> int:
    """Render RESULT (a result.json) as Markdown, JSON, or in the terminal. Exits with 0 whatever the verdict."""
    from gate.cli.console import Screen
    from gate.report import print_result, read_result, render_markdown, to_json
    from gate.samples import write_text

    found = read_result(result)
    if form == "terminal":
        print_result(found, Screen().out)
        return 0
    text = render_markdown(found) if form == "markdown" else to_json(found)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text(out, text)
    return 0
