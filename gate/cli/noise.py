"""`gate noise`: how much the baseline's own answers change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gate.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from gate.decision.noise import Control


@click.command()
@options.config
@click.option("--candidate", metavar="NAME", help="Use the settings of this candidate. Default: the first of gate.yml.")
@click.option("--force", is_flag=True, help="Evaluate the second run even if it is cached.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@options.quiet
def command(config_path: Path, candidate: str | None, force: bool, as_json: bool, quiet: bool) -> int:
    """Evaluate the baseline twice and print how much its answers change: the noise floor of the evaluation.

    If the cached answers are from another stack (engine, versions, hardware, compute dtype, batch settings) than the
    one that gate.yml sets for the candidate, the second run is the baseline on the candidate's stack; `gate run` reuses
    it. Otherwise the second run answers in other batches. No candidate is evaluated, and there is no verdict.
    """
    from gate.app.noise import noise
    from gate.cli.console import Terminal
    from gate.decision.noise_wording import control_sections
    from gate.report.escape import log_line

    terminal = Terminal(quiet)
    control = noise(config_path, candidate=candidate, force=force, reporter=terminal)
    if as_json:
        click.echo(control.model_dump_json(indent=1))
        return 0
    terminal.out.print(_table(control))
    for title, text in control_sections(control).items():
        terminal.out.print(f"{title}: {log_line(text, 1000)}", markup=False)
    return 0


def _table(control: Control) -> Table:
    from rich.table import Table
    from rich.text import Text

    from gate.decision.wording import number
    from gate.report.escape import log_line

    table = Table()
    table.add_column("task", overflow="fold")
    for head in ("n", "flips", "flip rate", "KL, nats"):
        table.add_column(head, justify="right")
    for task in control.tasks:
        advisory = " (advisory)" if task.role == "advisory" else ""
        name = Text(log_line(task.task) + advisory)
        table.add_row(name, f"{task.n:,}", f"{task.flips:,}", f"{task.flip_rate:.2%}", number(task.kl_mean))
    return table
