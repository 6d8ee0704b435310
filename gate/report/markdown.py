"""The Markdown report: what an engineer reads in ten seconds, in a comment, a job summary or a mail."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from gate.decision.result import TaskResult
from gate.report import words
from gate.report.drawing import draw_drops
from gate.report.escape import markdown, prose
from gate.report.figures import drop_lines
from gate.report.result import Result

_DRAWN = 30  # tasks in the picture
_SHORTEST_ROW = 30  # bytes; so many rows are never tried in vain
# nothing in it ends a Markdown link or an HTML attribute
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.:-]+(/[A-Za-z0-9._~/%?&=+-]*)?")


@dataclass(frozen=True)
class _Rows:
    """How many rows of each list are shown."""

    flips: int
    notes: int
    reproduce: int
    tasks: int
    reasons: int
    parts: int


def render_markdown(
    result: Result, limit: int | None = None, full_report: str | None = None, name: str | None = None
) -> str:
    """Return the report as GitHub Markdown; all text of models and tasks is escaped.

    Parameters
    ----------
    result : Result
    limit : int, optional
        Most UTF-8 bytes. Where the report is longer, whole rows are left out (parts of groups first, then flips,
        notes, commands and tasks, those with the smallest p-values staying) and the report says how many.
    full_report : str, optional
        Address of the whole report, linked at the end.
    name : str, optional
        Of the gate, shown in the title.

    Raises
    ------
    ValueError
        The limit is below what a report without any rows needs, or the address is not one.
    """
    if full_report is not None and not is_address(full_report):
        raise ValueError(f"not an address that can be linked: {full_report!r}")
    lists = _Rows(
        flips=len(result.flips),
        notes=len(result.notes),
        reproduce=len(_commands(result)),
        tasks=len(result.tasks),
        reasons=len(result.reasons),
        parts=len(_parts(result)),
    )

    def text(rows: _Rows) -> str:
        return _render(result, rows, lists, full_report, name)

    if limit is None:
        return text(lists)
    shown = _Rows(0, 0, 0, 0, 0, 0)
    if max(astuple(lists)) <= limit // _SHORTEST_ROW and _fits(text(lists), limit):
        return text(lists)
    if not _fits(text(shown), limit):
        raise ValueError(f"the report needs more than {limit} bytes even without any rows")
    for part in ("reasons", "tasks", "reproduce", "notes", "flips", "parts"):  # what matters most comes first
        count = min(getattr(lists, part), limit // _SHORTEST_ROW)
        before = shown

        def fits(rows: int, part: str = part, before: _Rows = before) -> bool:
            return _fits(text(replace(before, **{part: rows})), limit)

        shown = replace(before, **{part: _most(count, fits)})
    return text(shown)


def _most(count: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number of rows up to `count` that fits; never tries far more than fit."""
    low, step = 0, 1
    while low < count:
        high = min(low + step, count)
        if not fits(high):
            break
        low, step = high, 2 * step
    else:
        return count
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def is_address(text: str) -> bool:
    """Whether a text is an address that can be linked as it is."""
    return bool(_ADDRESS.fullmatch(text))


def _render(result: Result, rows: _Rows, lists: _Rows, full_report: str | None, name: str | None) -> str:
    context: dict[str, Any] = {
        "r": result,
        "name": name,
        "full_report": full_report,
        "kl": any(task.kl_mean is not None for task in result.tasks),
        "tests": " and ".join(sorted({task.test for task in result.tasks})),
        "worse": sum(task.regressions for task in result.tasks),
        "tasks": _tasks(result, rows.tasks),
        "lines": drop_lines(result),
        "drawing": draw_drops(_tasks(result, min(rows.tasks, _DRAWN)), drop_lines(result)),
        "parts": _parts(result)[: rows.parts],
        "flips": result.flips[: rows.flips],
        "notes": result.notes[: rows.notes],
        "reasons": result.reasons[: rows.reasons],
        "commands": _commands(result)[: rows.reproduce],
        "left_out": _left_out(rows, lists),
        "cell": lambda text: "-" if text is None else markdown(text),
        **{
            name: getattr(words, name)
            for name in (
                "percent",
                "drop_cell",
                "p_value",
                "headline",
                "sensitivity",
                "spending",
                "early_stop",
            )
        },
    }
    return _template().render(context)


@cache
def _template() -> Template:
    environment = Environment(  # noqa: S701 - Markdown; every foreign text goes through the filter `md`
        loader=PackageLoader("gate.report"),
        undefined=StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=True,
    )
    environment.filters["prose"] = prose
    environment.filters["md"] = lambda text, limit=200: markdown(str(text), limit)
    return environment.get_template("report.md.j2")


def _fits(text: str, limit: int) -> bool:
    return len(text.encode()) <= limit


def _commands(result: Result) -> list[str]:
    lines = result.provenance.get("reproduce", [])
    return [str(line) for line in lines] if isinstance(lines, list) else []


def _tasks(result: Result, count: int) -> list[TaskResult]:
    """Return the rows to show: all in their order, else those with the smallest p-values, in the same order."""
    if count >= len(result.tasks):
        return result.tasks
    by_p = sorted(enumerate(result.tasks), key=lambda entry: (entry[1].role != "gating", entry[1].p_exact))
    return [task for _, task in sorted(by_p[:count], key=lambda entry: entry[0])]


def _parts(result: Result) -> list[tuple[str, TaskResult]]:
    """Return the parts of groups, each with its group's name, the smallest p-values first."""
    parts = [(task.task, part) for task in result.tasks for part in task.subtasks]
    return sorted(parts, key=lambda entry: entry[1].p_exact)


def _left_out(rows: _Rows, lists: _Rows) -> str:
    """Say how many rows of which list are not shown; empty where all are."""
    names = {
        "tasks": "tasks",
        "flips": "flips",
        "notes": "notes",
        "reasons": "reasons",
        "reproduce": "commands",
        "parts": "parts of groups",
    }
    parts = [
        f"{getattr(lists, part) - getattr(rows, part):,} of {getattr(lists, part):,} {what}"
        for part, what in names.items()
        if getattr(rows, part) < getattr(lists, part)
    ]
    return ", ".join(parts)
