"""Broken answers: counted per side, tested for an excess of the candidate, and compared with budgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from gate.config import DecisionSettings
from gate.decision import wording
from gate.decision.broken_result import BrokenAnswers, BrokenCounts
from gate.decision.finding import Finding
from gate.decision.result import Limit, TaskResult
from gate.errors import ConfigError
from gate.samples import PairedTask
from gate.samples.broken import BrokenTexts, broken_texts
from gate.stats import Evidence

_HINT = "{key} needs generated texts that record why they ended. Remove it, or make the task advisory."
_Budget = Literal["max_truncated", "max_broken"]
_MOSTLY = 0.5  # share of broken answers on both sides from which a task is doubtful


def broken_of(pair: PairedTask) -> BrokenAnswers | None:
    """Return the broken answers of a task; None if it has no generated texts.

    The test is that of the scores: exact McNemar for independent items, sign-flips of whole clusters else. With several
    answers per item, an item is broken if any of them is.
    """
    sides = broken_texts(pair)
    if sides is None:
        return None
    before, after = (side.broken.astype(np.float64) for side in sides)
    newly, no_longer = int(np.count_nonzero(after > before)), int(np.count_nonzero(after < before))
    if pair.clusters is None:
        evidence = Evidence.from_counts(newly, no_longer, pair.n)
    else:
        evidence = Evidence.from_differences(after - before, pair.clusters, rng=0)
    baseline, candidate = map(_counts, sides)
    return BrokenAnswers(
        baseline=baseline, candidate=candidate, newly=newly, no_longer=no_longer, p_value=evidence.pvalue
    )


def _counts(side: BrokenTexts) -> BrokenCounts:
    counts = {name: int(flags.sum()) for name, flags in side.problems.items()}
    return BrokenCounts(**{"truncated": None, **counts}, broken=int(side.broken.sum()))


def budgets_of(row: TaskResult, max_truncated: float | None, max_broken: float | None) -> list[Limit]:
    """Return the budgets that a task sets, compared with the candidate's share of broken answers.

    Raises
    ------
    ConfigError
        The task has no generated texts, or they do not tell why they ended.
    """
    limits = []
    budgets: dict[_Budget, float | None] = {"max_truncated": max_truncated, "max_broken": max_broken}
    for key, limit in budgets.items():
        if limit is not None:
            observed = _number(row, key) / row.n
            limits.append(Limit(kind=key, limit=limit, observed=observed, exceeded=observed > limit))
    return limits


def over_budget(rows: Sequence[TaskResult], settings: DecisionSettings) -> list[str]:
    """Return one sentence per budget of the decision that the candidate's texts on all gating tasks exceed.

    Raises
    ------
    ConfigError
        No gating task has generated texts, or one does not tell why they ended.
    """
    beyond = []
    for key, what in (("max_truncated", "were stopped by their length"), ("max_broken", "are broken")):
        limit = getattr(settings, key)
        if limit is None:
            continue
        texts = [row for row in rows if row.broken is not None]
        if not texts:
            raise ConfigError(f"{key} is set, but no gating task has generated texts.", _HINT.format(key=key))
        count, total = sum(_number(row, key) for row in texts), sum(row.n for row in texts)
        if count / total > limit:
            beyond.append(
                f"{count:,} of {total:,} generated answers of the candidate {what} ({count / total:.2%}); the limit is "
                f"{limit:.2%}."
            )
    return beyond


def _number(row: TaskResult, key: str) -> int:
    candidate = None if row.broken is None else row.broken.candidate
    number = None
    if candidate is not None:
        number = candidate.truncated if key == "max_truncated" else candidate.broken
    if number is None:
        raise ConfigError(
            f"{key} is set for task {row.task}, but "
            + ("it has no generated texts." if candidate is None else "its texts do not tell why they ended."),
            _HINT.format(key=key),
        )
    return number


def broken_findings(rows: Sequence[TaskResult], alpha: float) -> list[Finding]:
    """Return what broken answers make doubtful: a task that nobody answers, mostly broken ones, and an excess.

    The excess is significant at `alpha` divided by the number of tasks with generated texts (Bonferroni).
    """
    found = []
    texts = [row for row in rows if row.broken is not None]
    for row in texts:
        broken = row.broken
        assert broken is not None  # noqa: S101 - for mypy
        count = wording.count(row.n, "item")
        before, after = broken.baseline, broken.candidate
        if before.empty == after.empty == row.n:
            found.append(
                Finding(
                    kind="empty",
                    task=row.task,
                    message=f"Neither model answers on {row.task}: all texts of both models are empty ({count}), so "
                    "that this task compares nothing. Check its prompt, its stop strings and max_tokens.",
                    blocks=row.role == "gating",
                )
            )
        elif min(before.broken, after.broken) > _MOSTLY * row.n:
            found.append(
                Finding(
                    kind="broken",
                    task=row.task,
                    message=f"Most answers of both models on {row.task} are broken ({before.broken:,} of the baseline, "
                    f"{after.broken:,} of the candidate, {count}): this task says little. Check its prompt, extract, "
                    "stop strings and max_tokens.",
                )
            )
        elif broken.p_value <= alpha / len(texts):
            found.append(
                Finding(
                    kind="broken",
                    task=row.task,
                    message=f"More answers of the candidate are broken on {row.task}: {after.broken:,} against "
                    f"{before.broken:,} ({count}; {wording.p_equation(broken.p_value)}). This does not decide; "
                    "`max_broken` sets a limit.",
                )
            )
    return found
