"""`gate plan`: how many items, or what drop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gate.cli import options
from gate.cli.compare import read_side

if TYPE_CHECKING:
    from gate.cli.console import Screen
    from gate.config import DecisionSettings
    from gate.decision.plan import SuitePlan


@click.command()
@click.argument("baseline", type=click.Path(path_type=Path), required=False)
@click.argument("again", type=click.Path(path_type=Path), required=False)
@click.option(
    "--n", "items", type=click.IntRange(1), help="Items of a single task, where no samples are given."
)
@click.option(
    "--flip-rate",
    type=options.Number(0, 1, min_open=True),
    help="Expected share of flips; default: as in AGAIN, else 0.02 (lossless), 0.05 (8 bit) and 0.1 (4 bit) in turn.",
)
@click.option(
    "--drop", type=options.Number(0, 1, min_open=True), help="Drop for which the needed items are wanted."
)
@options.alpha
@options.power
@options.rule
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def command(
    baseline: Path | None,
    again: Path | None,
    items: int | None,
    flip_rate: float | None,
    drop: float | None,
    alpha: float,
    power: float,
    rule: str,
    as_json: bool,
) -> int:
    """Say what drop a suite can see, and how many items a given drop needs.

    BASELINE: a stored baseline (or any file that `gate compare` reads), for the number of items of each task.
    AGAIN: a second run of it, or an earlier candidate, for the flip rates. Without either give --flip-rate and
    --n or --drop. Drops and rates are proportions: 0.01 is one point.
    """
    import json
    from dataclasses import asdict

    from gate.cli.console import Screen
    from gate.config import DecisionSettings
    from gate.decision.plan import plan_suite

    settings = DecisionSettings.model_validate({"alpha": alpha, "power": power, "rule": rule})
    sizes, rates = _design(baseline, again, items, flip_rate, drop, settings)
    plans = {label: plan_suite(sizes, rate, settings, drop) for label, rate in rates.items()}
    if as_json:
        click.echo(json.dumps({label: asdict(one) for label, one in plans.items()}, indent=1))
        return 0
    screen = Screen()
    for label, one in plans.items():
        _print(screen, label, one, settings.power, drop)
    return 0


def _design(
    baseline: Path | None,
    again: Path | None,
    items: int | None,
    flip_rate: float | None,
    drop: float | None,
    settings: DecisionSettings,
) -> tuple[dict[str, int], dict[str, dict[str, float]]]:
    """Return the items of each task, and flip rates by what they stand for."""
    import pyarrow.compute as pc

    from gate.errors import ConfigError
    from gate.samples import pair

    given = {f"flip rate {rate:g}": rate for rate in ([flip_rate] if flip_rate else [0.02, 0.05, 0.1])}
    if baseline is None:
        if items is None and (drop is None or flip_rate is None):
            raise click.UsageError("give BASELINE, or --n, or --flip-rate and --drop.")
        sizes = {"suite": items or _enough(drop or 0.0, flip_rate or 0.0, settings)}
        return sizes, {label: dict.fromkeys(sizes, rate) for label, rate in given.items()}
    first = read_side(baseline, None, None)
    # repeats of an item are not items
    sizes = {
        name: pc.count_distinct(task.table.column("item_id")).as_py() for name, task in first.tasks.items()
    }
    if again is None:
        return sizes, {label: dict.fromkeys(sizes, rate) for label, rate in given.items()}
    pairs = pair(first, read_side(again, None, None)).tasks
    for one in pairs:
        if not one.binary or one.clusters is not None:
            raise ConfigError(
                f"task {one.task}: a flip rate needs scores that are right or wrong, and items without clusters.",
                "Give --flip-rate instead of a second run, and take the figures as a guide for such tasks.",
            )
    # a task without a flip in one pair of runs may still flip in the next: half a flip stands for none
    observed = {one.task: max(one.regressions + one.improvements, 0.5) / one.n for one in pairs}
    rates = dict.fromkeys(sizes, flip_rate) if flip_rate else observed
    return {one.task: one.n for one in pairs}, {
        "flip rates as observed" if not flip_rate else next(iter(given)): rates
    }


def _enough(drop: float, flip_rate: float, settings: DecisionSettings) -> int:
    from gate.stats import required_n

    if drop > flip_rate:
        raise click.UsageError(
            f"--drop {drop:g} is above --flip-rate {flip_rate:g}; a drop is made of flips."
        )
    return required_n(flip_rate, drop, settings.alpha, settings.power)


def _print(screen: Screen, label: str, plan: SuitePlan, power: float, drop: float | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from gate.report.escape import log_line

    table = Table(title=label, title_justify="left")
    table.add_column("task", overflow="fold")
    heads = ["n", "flip rate", f"drop seen {10 * power:g} times in 10, points"]
    heads += [f"n needed for {100 * drop:g} points"] if drop is not None else []
    for head in heads:
        table.add_column(head, justify="right")
    for task in plan.tasks:
        row = [f"{task.n:,}", f"{100 * task.flip_rate:.2f} %", _points(task.detectable)]
        row += [_count(task.needed)] if drop is not None else []
        table.add_row(Text(log_line(task.task)), *row)
    table.add_section()
    total = [f"{sum(task.n for task in plan.tasks):,}", "", _points(plan.detectable)]
    total += [_count(plan.needed)] if drop is not None else []
    table.add_row("whole decision", *total)
    screen.out.print(table)


def _points(drop: float | None) -> str:
    return "none" if drop is None else f"{100 * drop:.2f}"


def _count(items: int | None) -> str:
    return "impossible: drop above flip rate" if items is None else f"{items:,}"
