"""The forest plot of the drops as text, which GitHub, a mail and a log can all show."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len, set_cell_size

from gate.decision import TaskResult
from gate.report.escape import code_line
from gate.report.figures import Scale, drop_scale

_WIDTH = 49  # columns of the plot
_NAME = 24  # columns of a task's name


def draw_drops(tasks: Sequence[TaskResult], lines: Sequence[float]) -> list[str]:
    """Return the forest plot of the tasks' drops as lines of text for a fenced code block, the axis last.

    Each task has one line: its 90% interval from `├` to `┤`, and its drop as `●`. Dotted lines mark the drops in
    `lines`, all above zero; they are drawn `╪` where they cross an interval. Zero has a solid line.
    """
    if not tasks:
        return []
    scale = drop_scale(tasks, lines)

    def column(drop: float) -> int:
        return round(scale.at(drop) / 100 * (_WIDTH - 1))

    background = [" "] * _WIDTH
    background[column(0)] = "│"
    for line in lines:  # never on the line of zero, which it exceeds
        background[min(max(column(line), column(0) + 1), _WIDTH - 1)] = "┊"
    rows = [f"{_label(task.task)} {_bar(task, background, column)}".rstrip() for task in tasks]
    return [*rows, " " * (_NAME + 1) + _axis(scale, column)]


def _label(name: str) -> str:
    label = code_line(name)
    if cell_len(label) > _NAME:  # related tasks often differ at the end of their names
        half = (_NAME - 1) // 2
        end = next(label[-count:] for count in range(half + 1, 0, -1) if cell_len(label[-count:]) <= half + 1)
        label = set_cell_size(label, half) + "…" + end
    return set_cell_size(label, _NAME)


def _bar(task: TaskResult, background: Sequence[str], column: Callable[[float], int]) -> str:
    low, high = (column(end) for end in task.drop_ci90)
    row = list(background)
    for index in range(low, high + 1):
        row[index] = {"│": "┼", "┊": "╪"}.get(row[index], "─")
    row[low], row[high] = "├", "┤"
    row[column(task.drop)] = "●"
    return "".join(row)


def _axis(scale: Scale, column: Callable[[float], int]) -> str:
    """Return round numbers of points, centred under their columns."""
    axis = ""
    for tick in scale.ticks(5):
        label = f"{round(100 * tick, 6):+g}" if abs(tick) > 1e-12 else "0"
        axis = axis.ljust(column(tick) - len(label) // 2) + label + " "
    return axis + "points"
