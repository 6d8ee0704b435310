"""How reports word broken answers."""

from __future__ import annotations

from gate.decision.result import Decision, TaskResult
from gate.decision.wording import count, p_value, percent

BROKEN_COLUMNS = ("stopped by length", "empty", "loop", "no answer found", "reasoning not closed", "any")
"""Headings of the problems; each cell has the baseline's and the candidate's number."""
BROKEN_CAPTION = (
    "Generated answers with a problem, whatever their score: baseline → candidate. The p-values test whether the "
    "candidate has more of them (one-sided exact McNemar test on broken or not); they decide nothing, except through "
    "max_truncated and max_broken. loop: of the last 128 words (at least 32), more than half of all sequences of four "
    "words are repeated."
)


def broken_tasks(decision: Decision) -> list[TaskResult]:
    """Return the tasks with generated texts."""
    return [task for task in decision.tasks if task.broken is not None]


def broken_cells(task: TaskResult) -> list[str]:
    """Return the cells of a task: one per problem, the share of broken answers, the changes and the p-value."""
    broken = task.broken
    if broken is None:
        return []
    before, after = broken.baseline, broken.candidate
    pairs = [
        (before.truncated, after.truncated), (before.empty, after.empty), (before.loop, after.loop),
        (before.unreadable, after.unreadable), (before.unclosed, after.unclosed),
    ]  # fmt: skip
    shares = f"{percent(before.broken / task.n)} → {percent(after.broken / task.n)}"
    return [
        *(f"{_cell(a)} → {_cell(b)}" for a, b in pairs),
        f"{before.broken:,} → {after.broken:,} ({shares})",
        f"{broken.newly:,} newly, {broken.no_longer:,} no longer",
        p_value(broken.p_value),
    ]


def broken_title(decision: Decision) -> str:
    """Return the title of the table of broken answers: how many there are on each side."""
    tasks = [task.broken for task in decision.tasks if task.broken is not None]
    before, after = sum(task.baseline.broken for task in tasks), sum(task.candidate.broken for task in tasks)
    return f"Broken answers: {before:,} of the baseline, {after:,} of the candidate, in {count(len(tasks), 'task')}"


def _cell(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


TEMPLATE_NAMES = {name: value for name, value in globals().items() if name.lower().startswith("broken_")}
"""The names of this module that the templates of reports use."""
