"""The report in the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gate.decision import behaviour_wording, broken_wording, wording
from gate.decision.noise_wording import control_sections
from gate.report.behaviour import BehaviourTable, behaviour_tables
from gate.report.escape import log_line
from gate.report.result import Result
from gate.report.slices import slice_drop, slice_level, slices_title

MOST_SLICES = 8
COLOURS = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}


def print_result(result: Result, console: Console, flips: int = 5) -> None:
    """Print the verdict, its reasons, the table of tasks and up to `flips` of the worst flips."""
    console.print()
    verdict = Text(result.verdict, style=COLOURS[result.verdict])
    console.print(
        verdict,
        Text(f"{_label(result.candidate)} against {_label(result.baseline)}: {wording.headline(result)}"),
    )
    for finding in result.warnings:
        console.print(Text(f"Warning: {log_line(finding.message, 2000)}", style="bold yellow"))
    for reason in result.reasons:
        console.print(Text(log_line(reason, 2000)))
    console.print(_tasks(result))
    console.print(Text(log_line(wording.p_values(result), 500)))
    console.print(Text(f"Detectable drop: {log_line(wording.detectable_drop(result), 2000)}"))
    if wording.bounds(result):
        console.print(Text(wording.bounds(result)))
    for line in wording.requirements(result):
        console.print(Text(f"Requirement: {log_line(line, 500)}"))
    for title, text in (
        ("Alpha spending", wording.spending(result)),
        ("Early stop", wording.early_stop(result)),
        *control_sections(result.control, result).items(),
    ):
        if text:
            console.print(Text(f"{title}: {log_line(text, 1000)}"))
    for note in result.notes:
        console.print(Text(f"Note: {log_line(note, 500)}", style="yellow"))
    if broken_wording.broken_tasks(result):
        console.print(_broken(result))
    for behaviour in behaviour_tables(result):
        console.print(_behaviour(behaviour))
    if result.slices:
        console.print(_slices(result))
    if result.flips and flips:
        console.print(_flips(result, flips))


def _label(side: Mapping[str, object]) -> str:
    return log_line(str(side.get("label", "?")))


def _tasks(result: Result) -> Table:
    table = Table()
    table.add_column("task", overflow="fold")
    drop = f"drop ({wording.interval_name(result)}), points"
    for name in ("n", "baseline", "candidate", drop, "worse/better", "p", "Holm p"):
        table.add_column(name, justify="right")
    kl_measured = any(task.kl_mean is not None for task in result.tasks)
    if kl_measured:
        table.add_column("KL, nats", justify="right")
    for task in result.tasks:
        for row in (task, *task.subtasks):
            is_subtask = row is not task
            mark = " (advisory)" if row.role == "advisory" else " (fails)" if result.task_fails(row) else ""
            name = f"  {log_line(row.task)}" if is_subtask else log_line(row.task) + mark
            table.add_row(
                Text(name, style="dim" if is_subtask else ""),
                row.count,
                wording.level(row, row.baseline),
                wording.level(row, row.candidate),
                wording.drop_interval(row),
                f"{row.regressions}/{row.improvements}",
                wording.p_value(row.p_exact, row.p_is_bound),
                wording.p_value(row.p_holm, row.p_is_bound),
                *([behaviour_wording.kl_number(row)] if kl_measured else []),
            )
    return table


def _flips(result: Result, count: int) -> Table:
    title = wording.flips_title(min(count, len(result.flips)), result.regressions, result.flips_ranked)
    table = Table(title=title, title_justify="left")
    for name in ("task", "prompt", "target", "baseline", "candidate"):
        table.add_column(name, overflow="fold")
    for flip in result.flips[:count]:
        cells = (flip.task, flip.prompt or flip.item_id, flip.target, flip.baseline, flip.candidate)
        table.add_row(*(Text(log_line(cell or "-", 120)) for cell in cells))
    return table


def _broken(result: Result) -> Table:
    table = Table(title=broken_wording.broken_title(result), title_justify="left")
    table.add_column("task", overflow="fold")
    for name in (*broken_wording.BROKEN_COLUMNS, "changed", "p"):
        table.add_column(name, justify="right")
    for task in broken_wording.broken_tasks(result):
        table.add_row(Text(log_line(task.task)), *broken_wording.broken_cells(task))
    return table


def _behaviour(table: BehaviourTable) -> Table:
    shown = Table(title=table.title, title_justify="left")
    for place, name in enumerate(table.head):
        shown.add_column(name, justify="right" if place else "left", overflow="fold")
    for name, *cells in table.rows:
        shown.add_row(Text(log_line(name)), *cells)
    return shown


def _slices(result: Result) -> Table:
    table = Table(title=slices_title(result, min(MOST_SLICES, len(result.slices))), title_justify="left")
    for name in ("slice", "task"):
        table.add_column(name, overflow="fold")
    for name in ("n", "baseline", "candidate", "drop", "worse/better", "p", "Holm p"):
        table.add_column(name, justify="right")
    for row in result.slices[:MOST_SLICES]:
        table.add_row(
            Text(log_line(f"{row.name}: {row.value}", 80)),
            Text(log_line(row.task)),
            f"{row.n:,}",
            slice_level(result, row, row.baseline),
            slice_level(result, row, row.candidate),
            slice_drop(result, row),
            f"{row.regressions}/{row.improvements}",
            wording.p_value(row.p),
            wording.p_value(row.p_holm),
        )
    return table
