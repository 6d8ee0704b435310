"""`gate history`: past runs."""

from __future__ import annotations

from pathlib import Path

import click

from gate.cli import options


@click.command()
@options.config
@click.option("--store", help="The store: a folder or a URL (s3://, gs://, hf://); default: samples.store of gate.yml.")
@click.option("--series", help="Only runs of this series; a prefix of its id is enough.")
@click.option("--last", type=click.IntRange(1), help="Only the last N runs.")
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["terminal", "jsonl", "html", "badge"]),
    default="terminal",
    show_default=True,
    help="Output format.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="File to write; default: standard output.")
def command(
    config_path: Path, store: str | None, series: str | None, last: int | None, form: str, out: Path | None
) -> int:
    """List past runs: date, drop, flips, p-value, alpha spent and verdict.

    Formats: a table, JSON lines, a self-contained HTML page, or the endpoint file of a shields.io badge for the last
    run. All runs of one series test the same tasks under the same policy.
    """
    from gate.app.history import past_runs
    from gate.cli.console import Terminal
    from gate.common.files import write_text
    from gate.report.history import print_history, render_badge, render_history_lines
    from gate.report.history_html import render_history_html

    terminal = Terminal()
    records = past_runs(config_path, store, terminal, series, last)
    if form == "terminal":
        print_history(records, terminal.out)
        return 0
    render = {"jsonl": render_history_lines, "html": render_history_html, "badge": render_badge}[form]
    if out is None:
        click.echo(render(records), nl=False)
    else:
        write_text(out, render(records))
    return 0
