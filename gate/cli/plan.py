"""`gate plan`: how many items are needed, or which drop can be detected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gate.cli import options
from gate.cli.options import is_set

if TYPE_CHECKING:
    from rich.table import Table

    from gate.decision.plan import SuitePlan, TaskPlan


@click.command()
@click.argument("baseline", type=click.Path(path_type=Path), required=False)
@click.argument("second", type=click.Path(path_type=Path), required=False)
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    help="Plan for the policy of this gate.yml: alpha, power, rule and margin of its decision, and the role and margin "
    "of each task. Options that are set replace its keys.",
)
@click.option("--n", type=click.IntRange(1), help="Number of items of a single task, if no samples are given.")
@click.option(
    "--flip-rate",
    type=options.Number(0, 1, min_open=True),
    help="Expected proportion of flips by noise alone. Default: as in SECOND, else 0.02, 0.05 and 0.1 in turn.",
)
@click.option(
    "--drop",
    type=options.Number(0, 1, min_open=True),
    help="Also print how many items are needed to detect this drop.",
)
@options.alpha
@options.power
@options.rule
@click.option(
    "--margin",
    type=options.Number(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Drop that the decision tolerates; with a margin, the figures are approximations.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.pass_context
def command(
    context: click.Context,
    /,
    baseline: Path | None,
    second: Path | None,
    drop: float | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Print which drop a suite can detect, and how many items are needed to detect a given drop.

    BASELINE is a stored baseline, or any file that `gate compare` reads; it gives the number of items per task.
    SECOND is a second run of it, or an earlier candidate; it gives the flip rates. Without BASELINE, give --config,
    whose baseline is then taken from the store, or --n, or --flip-rate and --drop. Drops and rates are proportions:
    0.01 is one percentage point.

    Half of the flips of noise are regressions; a drop adds regressions to them. The row "whole decision" is for the
    same drop on every gating task, with the rule that decides.
    """
    import json
    from dataclasses import asdict

    from gate.app.plan import plan
    from gate.cli.console import Terminal

    # the other options have the names of the keyword arguments of `gate.plan`, which has the same defaults
    given = {name: value for name, value in options.items() if is_set(context, name)}
    plans = plan(baseline, second, drop=drop, **given)
    if as_json:
        # the key of the JSON output is older than the name of the field
        printed = {label: asdict(suite, dict_factory=_with_json_keys) for label, suite in plans.items()}
        click.echo(json.dumps(printed, indent=1))
        return 0
    terminal = Terminal()
    for label, suite in plans.items():
        terminal.out.print(_table(label, suite, drop))
    return 0


def _table(label: str, plan: SuitePlan, drop: float | None) -> Table:
    from rich.table import Table
    from rich.text import Text

    from gate.report.escape import log_line

    def needed(row: TaskPlan | SuitePlan) -> list[str]:
        if drop is None:
            return []
        return ["impossible" if row.needed is None else f"{row.needed:,}"]

    table = Table(title=label, title_justify="left")
    table.add_column("task", overflow="fold")
    heads = ["n", "flip rate", f"drop detected with {100 * plan.power:g}% power, points"]
    if drop is not None:
        heads.append(f"n needed for {100 * drop:g} {'point' if drop == 0.01 else 'points'}")
    for head in heads:
        table.add_column(head, justify="right")
    for task in plan.tasks:
        row = [f"{task.n:,}", f"{100 * task.flip_rate:.2f} %", _points(task.detectable_drop)]
        advisory = " (advisory)" if task.role == "advisory" else ""
        table.add_row(Text(log_line(task.task) + advisory), *row, *needed(task))
    table.add_section()
    total = [f"{plan.n:,}", "", _points(plan.detectable_drop)]
    table.add_row("whole decision", *total, *needed(plan))
    return table


def _with_json_keys(fields: list[tuple[str, object]]) -> dict[str, object]:
    return {"detectable" if name == "detectable_drop" else name: value for name, value in fields}


def _points(drop: float | None) -> str:
    return "none" if drop is None else f"{100 * drop:.2f}"
