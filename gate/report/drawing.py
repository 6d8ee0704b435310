"""The drops and their intervals drawn with characters: a picture that GitHub, a mail and a log all show."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len, set_cell_size

from gate.decision import TaskResult
from gate.report.escape import log_line
from gate.report.figures import Scale, drop_scale

_WIDTH = 49  # columns of the plot
_NAME = 24  # columns of a task's name
# a code block shows no entities: what could end it, or be taken for HTML by a careless reader, is shown by its like
_LOOKALIKES = str.maketrans("`<>", "'‹›")


def draw_drops(tasks: Sequence[TaskResult], lines: Sequence[float]) -> list[str]:
    """Return the forest plot of the tasks' drops as lines of text, the axis last.

    Parameters
    ----------
    tasks : sequence of TaskResult
        A row each: the 90 % interval from `├` to `┤`, the drop as `●`.
    lines : sequence of float
        Drops above zero to mark by a dotted line (the margin, the bound to certify), `╪` where an interval has it;
        zero is a solid one.

    Returns
    -------
    list of str
        Rows without control characters, back-ticks or angle brackets, as a fenced code block takes them.
    """
    if not tasks:
        return []
    scale = drop_scale(tasks, lines)

    def column(drop: float) -> int:
        return round(scale.at(drop) / 100 * (_WIDTH - 1))

    back = [" "] * _WIDTH
    back[column(0)] = "│"
    for line in lines:
        back[min(max(column(line), column(0) + 1), _WIDTH - 1)] = "┊"  # beside zero at least: it is above it
    rows = [f"{_label(task.task)} {_bar(task, back, column)}".rstrip() for task in tasks]
    return [*rows, " " * (_NAME + 1) + _axis(scale, column)]


def _label(name: str) -> str:
    shown = log_line(name).translate(_LOOKALIKES)
    if cell_len(shown) > _NAME:  # names of one family differ at their ends
        half = (_NAME - 1) // 2
        end = next(shown[-count:] for count in range(half + 1, 0, -1) if cell_len(shown[-count:]) <= half + 1)
        shown = set_cell_size(shown, half) + "…" + end
    return set_cell_size(shown, _NAME)


def _bar(task: TaskResult, back: Sequence[str], column: Callable[[float], int]) -> str:
    low, high = (column(end) for end in task.drop_ci90)
    row = list(back)
    for place in range(low, high + 1):
        row[place] = {"│": "┼", "┊": "╪"}.get(row[place], "─")
    row[low], row[high] = "├", "┤"
    row[column(task.drop)] = "●"
    return "".join(row)


def _axis(scale: Scale, column: Callable[[float], int]) -> str:
    """Return round numbers of points under their columns."""
    axis = ""
    for tick in scale.ticks(5):
        label = f"{round(100 * tick, 6):+g}" if abs(tick) > 1e-12 else "0"
        axis = axis.ljust(column(tick) - len(label) // 2) + label + " "
    return axis + "points"
