"""The same report in the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gate.decision import TaskResult
from gate.report import words
from gate.report.escape import log_line
from gate.report.result import Result

_COLOURS = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}


def print_result(result: Result, console: Console, flips: int = 5) -> None:
    """Print verdict, reasons, the table of tasks and the worst flips."""
    console.print()
    verdict = Text(result.verdict, style=_COLOURS[result.verdict])
    console.print(
        verdict,
        Text(f"{_label(result.candidate)} against {_label(result.baseline)}: {words.headline(result)}"),
    )
    for reason in result.reasons:
        console.print(Text(log_line(reason, 2000)))
    console.print(_tasks(result))
    console.print(Text(log_line(f"What this run could have seen: {words.sensitivity(result)}", 2000)))
    spent = words.spending(result)
    if spent:
        console.print(Text(f"Alpha spending: {log_line(spent, 1000)}"))
    stopped = words.early_stop(result)
    if stopped:
        console.print(Text(f"Early stop: {log_line(stopped, 1000)}"))
    for note in result.notes:
        console.print(Text(f"Note: {log_line(note, 500)}", style="yellow"))
    if result.flips and flips:
        console.print(_flips(result, flips))


def _label(side: Mapping[str, object]) -> str:
    return log_line(str(side.get("label", "?")))


def _tasks(result: Result) -> Table:
    table = Table()
    table.add_column("task", overflow="fold")
    for name in ("n", "baseline", "candidate", "drop (90 % interval), points", "worse/better", "p", "Holm p"):
        table.add_column(name, justify="right")
    measured = any(task.kl_mean is not None for task in result.tasks)
    if measured:
        table.add_column("KL, nats", justify="right")
    rows = [(one, below) for task in result.tasks for one, below in _with_parts(task)]
    for task, below in rows:
        advisory = " (advisory)" if task.role == "advisory" and not below else ""
        table.add_row(
            Text(("  " if below else "") + log_line(task.task) + advisory, style="dim" if below else ""),
            f"{task.n:,}",
            words.percent(task.baseline),
            words.percent(task.candidate),
            words.drop_cell(task),
            f"{task.regressions}/{task.improvements}",
            words.p_value(task.p_exact),
            words.p_value(task.p_holm),
            *([words.p_value(task.kl_mean)] if measured else []),
        )
    return table


def _with_parts(task: TaskResult) -> list[tuple[TaskResult, bool]]:
    return [(task, False), *((part, True) for part in task.subtasks)]


def _flips(result: Result, count: int) -> Table:
    table = Table(title=f"worst {min(count, len(result.flips))} flips", title_justify="left")
    for name in ("task", "question", "expected", "baseline", "candidate"):
        table.add_column(name, overflow="fold")
    for flip in result.flips[:count]:
        cells = (flip.task, flip.question or flip.item_id, flip.expected, flip.baseline, flip.candidate)
        table.add_row(*(Text(log_line(cell or "-", 120)) for cell in cells))
    return table
