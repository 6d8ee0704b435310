"""The last result on the base branch, and what has changed since then."""

from __future__ import annotations

from pathlib import Path

from gate.decision import wording
from gate.errors import GateError
from gate.github.messages import Messages
from gate.github.untrusted import read_untrusted
from gate.report.candidates import AnyResult, CandidatesResult
from gate.report.escape import markdown
from gate.report.result import Result

_MOST_NAMES = 10  # tasks or candidates that one line names


def read_base(path: str | None, messages: Messages) -> AnyResult | None:
    """Return the result in a file; None, with a message, where there is none or it is damaged.

    The file is read as untrusted: a cache or an artifact may have been written by someone else.
    """
    if path is None:
        return None
    if not Path(path).exists():
        messages.note(f"No earlier result on the base branch: there is no {path}.")
        return None
    try:
        return read_untrusted(Path(path))
    except GateError as error:
        messages.warn(f"The last result on the base branch is ignored. {error}")
        return None


def has_changed(result: AnyResult, base: AnyResult | None) -> bool:
    """Return whether the verdict or the tasks that fail differ from those of the base branch; True if unknown."""
    return base is None or _outcome(result) != _outcome(base)


def _outcome(result: AnyResult) -> dict[str, tuple[str, frozenset[str]]]:
    """Return the verdict and the tasks that fail of each candidate, and what could not be evaluated."""
    if isinstance(result, CandidatesResult):
        found = {one.name: _verdict(one.result) for one in result.candidates}
        return found | {one.name: ("ERROR", frozenset[str]()) for one in result.unevaluated}
    return {"candidate": _verdict(result)}


def _verdict(result: Result) -> tuple[str, frozenset[str]]:
    return result.verdict, frozenset(task.task for task in result.failed_tasks)


def change_since(result: AnyResult, base: AnyResult | None) -> str:
    """Return a Markdown paragraph about the change since the last result on the base branch; empty without one."""
    if base is None:
        return ""
    if isinstance(result, Result) and isinstance(base, Result):
        text = _change_of_one(result, base)
    else:
        text = _change_of_several(_outcome(result), _outcome(base))
    return f"**Against the base branch.** {text}"


def _change_of_one(result: Result, base: Result) -> str:
    before = f"The last result there was {base.verdict} ({wording.deciding_p(base)})"
    if not _comparable(result, base):
        return f"{before}, with another baseline, other tasks or other items, so the drops are not compared."
    proportions = all(task.unit == "proportion" for task in (*result.gating, *base.gating))
    drops = ""
    if proportions:
        drops = (
            f": a drop of {wording.points(base.drop)} points, now {wording.points(result.drop)} "
            f"({wording.points(result.drop - base.drop)})"
        )
    flips = f"{_flips(base):,} flips, now {_flips(result):,}"
    failing = _verdict(result)[1], _verdict(base)[1]
    worse = _named("Tasks that fail now and did not then", failing[0] - failing[1])
    better = _named("Tasks that failed then and do not now", failing[1] - failing[0])
    return f"{before}{drops}; {flips}.{worse}{better}"


def _comparable(result: Result, base: Result) -> bool:
    same = result.baseline.get("fingerprint") == base.baseline.get("fingerprint")
    return same and [(task.task, task.n) for task in result.gating] == [(task.task, task.n) for task in base.gating]


def _flips(result: Result) -> int:
    return sum(task.regressions + task.improvements for task in result.gating)


def _named(title: str, names: frozenset[str]) -> str:
    shown = ", ".join(markdown(name, 60) for name in sorted(names)[:_MOST_NAMES])
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f" {title}: {shown}{more}." if names else ""


def _change_of_several(now: dict[str, tuple[str, frozenset[str]]], then: dict[str, tuple[str, frozenset[str]]]) -> str:
    lines = [
        f"{markdown(name, 60)} was {then[name][0] if name in then else 'not there'}, is {verdict}"
        for name, (verdict, _) in now.items()
        if name not in then or then[name][0] != verdict
    ]
    same = len(now) - len(lines)
    shown = "; ".join(lines[:_MOST_NAMES])
    more = f"; {len(lines) - _MOST_NAMES} more changed" if len(lines) > _MOST_NAMES else ""
    unchanged = f"{wording.count(same, 'candidate')} with the verdict of the last result there"
    return f"{shown}{more}; {unchanged}." if lines else f"{unchanged}."
