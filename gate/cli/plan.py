"""`gate plan`: how many items are needed, or which drop can be detected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gate.cli import options

if TYPE_CHECKING:
    from gate.cli.console import Terminal
    from gate.decision.plan import SuitePlan
    from gate.stats import Rule


@click.command()
@click.argument("baseline", type=click.Path(path_type=Path), required=False)
@click.argument("second", type=click.Path(path_type=Path), required=False)
@click.option(
    "--n", "items", type=click.IntRange(1), help="Number of items of a single task, if no samples are given."
)
@click.option(
    "--flip-rate",
    type=options.Number(0, 1, min_open=True),
    help="Expected proportion of flips. Default: as in SECOND, else 0.02, 0.05 and 0.1 in turn.",
)
@click.option(
    "--drop", type=options.Number(0, 1, min_open=True), help="Also print how many items this drop needs."
)
@options.alpha
@options.power
@options.rule
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def command(
    baseline: Path | None,
    second: Path | None,
    items: int | None,
    flip_rate: float | None,
    drop: float | None,
    alpha: float,
    power: float,
    rule: Rule,
    as_json: bool,
) -> int:
    """Print which drop a suite can detect, and how many items a given drop needs.

    BASELINE is a stored baseline, or any file that `gate compare` reads; it gives the number of items per task.
    SECOND is a second run of it, or an earlier candidate; it gives the flip rates. Without them, give --flip-rate and
    --n or --drop. Drops and rates are proportions: 0.01 is one point.
    """
    import json
    from dataclasses import asdict

    from gate.app.plan import plan
    from gate.cli.console import Terminal

    plans = plan(
        baseline, second, n=items, flip_rate=flip_rate, drop=drop, alpha=alpha, power=power, rule=rule
    )
    if as_json:
        # the key of the JSON output is older than the name of the field
        printed = {label: asdict(suite, dict_factory=_with_json_keys) for label, suite in plans.items()}
        click.echo(json.dumps(printed, indent=1))
        return 0
    terminal = Terminal()
    for label, suite in plans.items():
        _print(terminal, label, suite, power, drop)
    return 0


def _print(terminal: Terminal, label: str, plan: SuitePlan, power: float, drop: float | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from gate.report.escape import log_line

    table = Table(title=label, title_justify="left")
    table.add_column("task", overflow="fold")
    heads = ["n", "flip rate", f"drop detected {10 * power:g} times in 10, points"]
    heads += [f"n needed for {100 * drop:g} points"] if drop is not None else []
    for head in heads:
        table.add_column(head, justify="right")
    for task in plan.tasks:
        row = [f"{task.n:,}", f"{100 * task.flip_rate:.2f} %", _points(task.detectable_drop)]
        row += [_count(task.needed)] if drop is not None else []
        table.add_row(Text(log_line(task.task)), *row)
    table.add_section()
    total = [f"{sum(task.n for task in plan.tasks):,}", "", _points(plan.detectable_drop)]
    total += [_count(plan.needed)] if drop is not None else []
    table.add_row("whole decision", *total)
    terminal.out.print(table)


def _with_json_keys(fields: list[tuple[str, object]]) -> dict[str, object]:
    return {"detectable" if name == "detectable_drop" else name: value for name, value in fields}


def _points(drop: float | None) -> str:
    return "none" if drop is None else f"{100 * drop:.2f}"


def _count(items: int | None) -> str:
    return "impossible: drop above flip rate" if items is None else f"{items:,}"
