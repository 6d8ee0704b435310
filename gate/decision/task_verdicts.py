"""Which tasks fail: closed testing, so that a task fails only where the decision does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gate.decision.result import TaskResult
from gate.decision.rows import Judged
from gate.decision.run_sections import EarlyStopping
from gate.decision.series import Spending
from gate.stats import CombinedResult, closed_evalues, closed_pvalues

_ROUNDING = 1e-12  # of 1 / e against the level, which the e-process compares as logarithms


def with_verdicts(
    rows: Sequence[TaskResult],
    gating: Sequence[Judged],
    combined: CombinedResult,
    alpha: float,
    early: EarlyStopping | None,
    spending: Spending | None,
    p_value: float,
    rejected: bool,
    seed: int,
) -> list[TaskResult]:
    """Return the rows with each task's adjusted p-value and whether it fails.

    A task fails where the deciding test rejects every set of gating tasks that contains it. The level is that of the
    test that decides: `alpha`, or the share of early stopping after a stop. The e-process and the final test together
    therefore keep the level of the run for the single tasks too. Limits on flips and KL divergence make no task fail,
    and advisory tasks never fail. With nightly e-values, and after a stop where prompts repeat, it is not
    decided which of several tasks fail.

    Parameters
    ----------
    rows : sequence of TaskResult
        One per task, the gating ones in the order of `gating`.
    p_value, rejected
        P-value of the decision, and whether its test rejects.
    """
    if not rejected:
        return [row.model_copy(update={"fails": False}) for row in rows]
    if early is not None and early.stopped:
        level = early.alpha * (1 + _ROUNDING)
        pairs = [task.pair for task in gating]
        if len(pairs) > 1 and any(pair.clusters is not None or pair.shared is not None for pair in pairs):
            adjusted = np.ones(len(pairs))  # flips of equal prompts are not independent
        else:
            adjusted = closed_evalues([pair.regressions for pair in pairs], [pair.improvements for pair in pairs])
    elif spending is not None and spending.evidence is not None:
        level = alpha  # the evidence of single tasks is not accumulated over the runs
        adjusted = np.zeros(1) if len(gating) == 1 else np.ones(len(gating))
    else:
        level = alpha
        adjusted = closed_pvalues([task.evidence for task in gating], combined, rng=seed)
    values = iter(adjusted.tolist())
    judged = []
    for row in rows:
        p = max(next(values), p_value) if row.role == "gating" else None
        fails = p is not None and p <= level
        judged.append(row.model_copy(update={"p_adjusted": p, "fails": fails, "can_reject": row.can_reject or fails}))
    return judged
