"""`gate history`: the nights so far."""

from __future__ import annotations

from pathlib import Path

import click

from gate.cli import options


@click.command()
@options.config
@click.option(
    "--store", help="The store: a folder, or s3:// and the like; default: samples.store of gate.yml."
)
@click.option("--series", help="Only runs of this series (the start of its name is enough).")
@click.option("--last", type=click.IntRange(1), help="Only the last N runs.")
@click.option(
    "-f", "--format", "form", type=click.Choice(["terminal", "jsonl", "html", "badge"]), default="terminal"
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="File to write; default standard output.")
def command(
    config_path: Path, store: str | None, series: str | None, last: int | None, form: str, out: Path | None
) -> int:
    """Show the runs that a store remembers: drop, flips, p-value, alpha spent and verdict of each.

    Formats: a table; JSON lines; a self-contained HTML page; or an endpoint file for a shields.io badge of the last
    run. Runs of one series test the same tasks under the same policy.
    """
    from gate.cli.console import Screen
    from gate.errors import SampleError
    from gate.files import write_text
    from gate.report.history import print_history, render_badge, render_history_lines
    from gate.report.history_html import render_history_html
    from gate.store.history import open_history
    from gate.store.remote import open_store

    place, base = (store, Path()) if store is not None else _store(config_path)
    found = open_history(open_store(place, base, Screen().say)).read()
    records = [one for one in found if one.series.startswith(series or "")]
    if not records:
        raise SampleError(
            f"{place} remembers no run{f' of series {series}' if series else ''}.",
            "`gate run` adds a line to its store's history.jsonl; name the store with --store.",
        )
    records = records[-last:] if last else records
    if form == "terminal":
        print_history(records, Screen().out)
        return 0
    render = {"jsonl": render_history_lines, "html": render_history_html, "badge": render_badge}[form]
    if out is None:
        click.echo(render(records), nl=False)
    else:
        write_text(out, render(records))
    return 0


def _store(config_path: Path) -> tuple[str, Path]:
    from gate.config import load_config

    loaded = load_config(config_path)
    return loaded.config.samples.store, loaded.folder
