"""The decision over all tasks, of any kind, under one error rate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from gate.stats import _margin, _rules, _validate
from gate.stats.evidence import Evidence
from gate.stats.multiplicity import holm
from gate.stats.omnibus import Simulated, simulate

Rule: TypeAlias = Literal["omnibus", "pooled", "max", "fisher", "holm"]
RULES: tuple[Rule, ...] = ("omnibus", "pooled", "max", "fisher", "holm")


@dataclass(frozen=True, slots=True)
class JointResult:
    """What all tests say about all tasks together.

    Attributes
    ----------
    rule : str
        The rule that decides.
    p_value : float
        Its p-value: reject "no task has dropped (by more than the margin)" where p_value <= alpha.
    margin : float
        Tolerated drop.
    tasks, tasks_holm : tuple of float, one per task
        Raw and Holm-adjusted p-values in the order given.
    pooled, max_drop, fisher, omnibus : float
        P-values of the aggregates.
    draws : int
        Draws behind the omnibus p-value; 0 where it is exact.
    omnibus_low, omnibus_high : float
        99.9 % interval of the omnibus p-value that infinitely many draws would give.
    """

    rule: Rule
    p_value: float
    margin: float
    tasks: tuple[float, ...]
    tasks_holm: tuple[float, ...]
    pooled: float
    max_drop: float
    fisher: float
    omnibus: float
    draws: int
    omnibus_low: float
    omnibus_high: float

    @property
    def holm(self) -> float:
        """Smallest Holm-adjusted p-value: what the rule `holm` decides by."""
        return min(self.tasks_holm)


def joint_test(
    evidences: Sequence[Evidence],
    rule: Rule = "omnibus",
    margin: float = 0.0,
    draws: int = 1_000_000,
    seed: int = 0,
    alpha: float | None = None,
) -> JointResult:
    """Test whether any task has dropped, over binary and other tasks together.

    Parameters
    ----------
    evidences : sequence of Evidence
        One per gating task, at least one; in any order.
    rule : {'omnibus', 'pooled', 'max', 'fisher', 'holm'}, default 'omnibus'
        Which p-value decides. The others are returned too.
    margin : float, default 0
        Tolerated drop of every task, in score units (a proportion for binary tasks).
    draws, seed, alpha
        As for `omnibus`: with `alpha` draws are added while the p-value is too near to it.

    Returns
    -------
    JointResult

    Raises
    ------
    ValueError
        Where there is no task, the rule is unknown, the margin is out of range, or a margin is tested on
        evidence without a number of items.

    Notes
    -----
    margin = 0: given the sizes of all differences, their signs are fair coins, independent between tasks.
    Each task's statistic (the signed sum T_k) has a known discrete distribution: binomial, an exact
    convolution, or, for continuous scores, the drawn sums with the observed one among them, which are equally
    likely under the null. From these, pooled (sum of T_k, scores that are not binary scaled to
    root-mean-square 1), max (of T_k over its null standard deviation), Fisher and omnibus are computed as for
    counts; all are valid at any sample size. With binary evidence only, the p-values equal those of `pooled`,
    `max_drop`, `fisher` and `omnibus`.

    margin > 0: each task's p-value is that of `margin_test` (asymptotic, bounded below by the exact test at
    0). Holm needs nothing more. Pooled is the same test on the summed counts; its null, a pooled drop up to
    the margin, contains "every task's drop is up to the margin". Max is 1 - (1 - p_min)**K, and Fisher has
    its chi-square reference; both need independent tasks only. Omnibus refers the smallest of the three to
    its law when the K score statistics are independent standard normals and the pooled one is their
    variance-weighted sum. These are large-sample results: see the calibration study for their measured size.

    References
    ----------
    Pesarin, Salmaso (2010), Permutation Tests for Complex Data. Hemerik, Goeman (2018), TEST 27, 811-825
    (random sign flips). Tango (1998), Statistics in Medicine 17, 891-908.

    Examples
    --------
    >>> from gate.stats import Evidence, joint_test
    >>> tasks = [Evidence.from_counts(4, 5), Evidence.from_counts(10, 3), Evidence.from_counts(3, 2)]
    >>> result = joint_test(tasks)
    >>> p = (result.p_value, result.pooled, result.max_drop, result.fisher, result.holm)
    >>> print(*(f"{value:.3f}" for value in p))
    0.126 0.124 0.094 0.105 0.138
    >>> mixed = [*tasks, Evidence.from_differences([0.5, 0.25, -0.25, 1.0, 0.75])]
    >>> round(joint_test(mixed).p_value, 3)
    0.058
    """
    if rule not in RULES:
        raise ValueError(f"rule: expected one of {', '.join(RULES)}, found {rule!r}")
    if not evidences:
        raise ValueError("evidences: expected at least one task, found none")
    if not 0.0 <= margin < math.inf:
        raise ValueError(f"margin: expected a drop of at least 0, found {margin}")
    _validate.at_least("draws", draws, 1)
    if margin > 0.0:
        raw = np.array([_margin.task_p(e, margin) for e in evidences])
        pooled, largest, fisher, omnibus = _margin.combine(evidences, margin, raw, min(draws, 200_000), seed)
    else:
        raw = np.exp([e.log_p for e in evidences])
        pooled, largest, fisher, omnibus = _combine(evidences, draws, seed, alpha)
    adjusted = holm(raw)
    decides = {
        "omnibus": omnibus.p_value,
        "pooled": pooled,
        "max": largest,
        "fisher": fisher,
        "holm": float(adjusted.min()),
    }
    return JointResult(
        rule, decides[rule], margin, tuple(raw.tolist()), tuple(adjusted.tolist()), pooled, largest, fisher,
        omnibus.p_value, omnibus.draws, omnibus.low, omnibus.high,
    )  # fmt: skip


def _combine(
    evidences: Sequence[Evidence], draws: int, seed: int, alpha: float | None
) -> tuple[float, float, float, Simulated]:
    tasks = _rules.from_evidence(evidences)
    pooled_law, fisher_law = _rules.pooled_law(tasks), _rules.fisher_law(tasks)
    logs = (_rules.log_pooled(tasks, pooled_law), _rules.log_max(tasks), _rules.log_fisher(tasks, fisher_law))
    omnibus = simulate(tasks, min(logs), pooled_law, fisher_law, draws, seed, alpha)
    return math.exp(logs[0]), math.exp(logs[1]), math.exp(logs[2]), omnibus
