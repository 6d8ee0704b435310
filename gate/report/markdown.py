"""The Markdown report: for a comment, a job summary or a mail, to be read in ten seconds."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from gate.decision import behaviour_wording, broken_wording, wording
from gate.decision.noise_wording import control_sections
from gate.decision.result import TaskResult
from gate.report.behaviour import BehaviourTable, behaviour_tables
from gate.report.drawing import draw_drops
from gate.report.escape import markdown, prose
from gate.report.figures import drop_lines
from gate.report.result import Result
from gate.report.slices import slice_drop, slice_level, slices_title

SIGNS = {"PASS": "✅", "FAIL": "❌", "INCONCLUSIVE": "⚠️"}
_MOST_DRAWN = 30  # tasks in the plot
MOST_SLICES = 20
_OMITTED_ORDER = (
    "tasks", "requirements", "flips", "notes", "warnings", "reasons", "commands", "subtasks", "broken", "slices"
)  # fmt: skip
_SHORTEST_ROW = 30  # bytes; bounds the number of rows worth trying
# no character of it ends a Markdown link or an HTML attribute
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.:-]+(/[A-Za-z0-9._~/%?&=+-]*)?")


_Rows = dict[str, int]
"""Number of rows per list of the report, the most important list first."""


def render_markdown(
    result: Result, limit: int | None = None, full_report: str | None = None, name: str | None = None
) -> str:
    """Return the report as GitHub Markdown; all text of models and tasks is escaped.

    Parameters
    ----------
    limit : int, optional
        Maximum size in UTF-8 bytes. A longer report is shortened by whole rows: first slices, then subtasks, flips,
        notes, commands, requirements and tasks (those with the smallest p-values stay). It says how many rows are
        omitted.
    full_report : str, optional
        Address of the full report, linked at the end.
    name : str, optional
        Name of the gate, for the title.

    Raises
    ------
    ValueError
        The report exceeds the limit even without rows, or `full_report` is not an address that can be linked.
    """
    if full_report is not None and not is_address(full_report):
        raise ValueError(f"not an address that can be linked: {full_report!r}")
    available = {
        "warnings": len(result.warnings),
        "reasons": len(result.reasons),
        "tasks": len(result.tasks),
        "requirements": len(wording.requirements(result)),
        "commands": len(result.commands),
        "notes": len(result.notes),
        "flips": len(result.flips),
        "subtasks": len(_subtasks(result)),
        "broken": len(broken_wording.broken_tasks(result)),
        "behaviour": sum(len(table.rows) for table in behaviour_tables(result)),
        "slices": min(len(result.slices), MOST_SLICES),
    }

    def text(rows: _Rows) -> str:
        return _render(result, rows, available, full_report, name)

    if limit is None:
        return text(available)
    if max(available.values()) <= limit // _SHORTEST_ROW and _fits(text(available), limit):
        return text(available)
    shown = dict.fromkeys(available, 0)
    if not _fits(text(shown), limit):
        raise ValueError(f"the report needs more than {limit} bytes even without any rows")
    for key, count in available.items():

        def fits(rows: int, key: str = key) -> bool:
            return _fits(text({**shown, key: rows}), limit)

        shown[key] = _largest(min(count, limit // _SHORTEST_ROW), fits)
    return text(shown)


def _largest(count: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number of rows that fits, by doubling and then bisecting, so that few texts are too long."""
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
    """Return whether a text is an address that can be linked unchanged."""
    return bool(_ADDRESS.fullmatch(text))


def _render(result: Result, rows: _Rows, available: _Rows, full_report: str | None, name: str | None) -> str:
    drawn = [task for task in _tasks(result, min(rows["tasks"], _MOST_DRAWN)) if task.unit == "proportion"]
    lines = drop_lines(result)
    return _template().render(
        r=result,
        name=name,
        full_report=full_report,
        kl=any(task.kl_mean is not None for task in result.tasks),
        regressions=result.regressions,
        ranked=result.flips_ranked,
        tasks=_tasks(result, rows["tasks"]),
        lines=lines,
        drawn=len(drawn),
        drawing=draw_drops(drawn, lines),
        subtasks=_subtasks(result)[: rows["subtasks"]],
        broken=broken_wording.broken_tasks(result)[: rows["broken"]],
        behaviour=_first_rows(behaviour_tables(result), rows["behaviour"]),
        slices=result.slices[: rows["slices"]],
        flips=result.flips[: rows["flips"]],
        notes=result.notes[: rows["notes"]],
        warnings=[finding.message for finding in result.warnings[: rows["warnings"]]],
        reasons=result.reasons[: rows["reasons"]],
        required=wording.requirements(result)[: rows["requirements"]],
        commands=result.commands[: rows["commands"]],
        omitted=_omitted(rows, available),
    )


@cache
def _template() -> Template:
    environment = Environment(  # noqa: S701 - Markdown; all text of models and tasks goes through the filter `md`
        loader=PackageLoader("gate.report"),
        undefined=StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=True,
    )
    environment.globals.update(
        wording.TEMPLATE_NAMES | behaviour_wording.TEMPLATE_NAMES | broken_wording.TEMPLATE_NAMES,
        control_sections=control_sections,
        SIGNS=SIGNS,
    )
    environment.globals.update(slices_title=slices_title, slice_level=slice_level, slice_drop=slice_drop)
    environment.filters["prose"] = prose
    environment.filters["md"] = lambda text, limit=200: "-" if text is None else markdown(str(text), limit)
    return environment.get_template("report.md.j2")


def _fits(text: str, limit: int) -> bool:
    return len(text.encode()) <= limit


def _tasks(result: Result, count: int) -> list[TaskResult]:
    """Return up to `count` tasks in their order: gating tasks first, then those with the smallest p-values."""
    if count >= len(result.tasks):
        return result.tasks
    by_p = sorted(enumerate(result.tasks), key=lambda entry: (entry[1].role != "gating", entry[1].p_exact))
    return [task for _, task in sorted(by_p[:count], key=lambda entry: entry[0])]


def _first_rows(tables: list[BehaviourTable], count: int) -> list[BehaviourTable]:
    """Return the tables with their first rows, `count` in all."""
    kept = []
    for table in tables:
        if count > 0:
            kept.append(replace(table, rows=table.rows[:count]))
        count -= len(table.rows)
    return kept


def _subtasks(result: Result) -> list[tuple[str, TaskResult]]:
    """Return all subtasks with the name of their group, smallest p-value first."""
    subtasks = [(task.task, subtask) for task in result.tasks for subtask in task.subtasks]
    return sorted(subtasks, key=lambda entry: entry[1].p_exact)


def _omitted(rows: _Rows, available: _Rows) -> str:
    """Say how many rows of which lists are omitted; empty where all are shown."""
    return ", ".join(
        f"{available[key] - rows[key]:,} of {available[key]:,} {key}"
        for key in _OMITTED_ORDER
        if rows[key] < available[key]
    )
