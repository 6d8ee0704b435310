"""Which tasks fail: closed testing of the deciding rule over every set of tasks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gate.stats import _binomial, _rules, _sums, _validate
from gate.stats._nulls import Null
from gate.stats._validate import RNG, Counts, FloatArray
from gate.stats.evidence import Evidence
from gate.stats.multiplicity import holm
from gate.stats.results import CombinedResult, Rule
from gate.stats.sequential import log_e_value

MAX_ENUMERATED = 10
"""Up to this many tasks with discordant items, every set of tasks is tested."""

_DRAWS = 1 << 14
_TIE = 1e-9


def closed_pvalues(
    evidences: Sequence[Evidence], combined: CombinedResult, *, n_resamples: int = _DRAWS, rng: RNG = None
) -> FloatArray:
    """P-values of the single tasks, adjusted by closed testing of the rule that decides.

    Parameters
    ----------
    evidences : sequence of Evidence
        The tasks, as given to `combine`.
    combined : CombinedResult
        What `combine` returned for them.
    n_resamples : int, default 16,384
        Joint draws from the null distribution of all tasks, shared by all sets.
    rng : int or numpy.random.Generator, optional
        Seed of the draws, or a generator that provides it; by default the seed is random.

    Returns
    -------
    ndarray of float, shape (tasks,)
        Adjusted p-values, in the order given, each at least `combined.pvalue`. If tasks fail where the adjusted
        p-value is at most alpha, the probability that any task without a drop (beyond the margin) fails is at most
        alpha, however many of the other tasks have dropped. No task fails where the decision does not reject.

    Notes
    -----
    Let H_S be "no task of the set S has dropped", tested by applying the rule to the tasks of S alone. The adjusted
    p-value of task k is the largest p-value of H_S over all sets S that contain k. If T is the set of the tasks that
    have truly not dropped, a false failure requires that H_T is rejected, which has a probability of at most alpha.

    * holm: the largest p-value is Holm's adjusted p-value.
    * max: the largest p-value is that of the step-down method, which is exact. With the standardised drops in
      descending order z_1 >= z_2 >= ..., it is the maximum over i <= k of P[max(Z_i, ..., Z_K) >= z_i].
    * pooled, fisher, omnibus, up to ten tasks with discordant items: all sets are tested. A single task has its exact
      p-value and the set of all tasks has `combined.pvalue`. Pooled counts are exact for every set. Other p-values
      are ranks of the data among itself and joint draws from the null, (1 + hits) / (draws + 1), which is valid for
      any number of draws; the standard error at .05 is .0017. A p-value as small as 1 / (draws + 1) is replaced by a
      bound where that is smaller (binomial or Hoeffding for pooled, chi-square for Fisher, the union bound for
      omnibus).
    * more tasks, a margin above 0, or dependent tasks: the maximum of `combined.pvalue` and Holm's adjusted p-value.
      The tasks that fail are among those that Holm's method rejects, so that the probability of a false failure is
      at most alpha, under any dependence between the tasks.

    References
    ----------
    Marcus, Peritz, Gabriel (1976), Biometrika 63, 655-660. Westfall, Young (1993), Resampling-Based Multiple Testing
    (step-down maximum). Phipson, Smyth (2010), SAGMB 9, 39 (ranks that include the data).

    Examples
    --------
    >>> from gate.stats import Evidence, closed_pvalues, combine
    >>> tasks = [Evidence.from_counts(24, 8), Evidence.from_counts(12, 9), Evidence.from_counts(10, 12)]
    >>> for rule in "max", "pooled":
    ...     print(closed_pvalues(tasks, combine(tasks, rule)).round(3))
    [0.009 0.507 0.738]
    [0.038 0.5   0.738]
    """
    count = len(evidences)
    if count != len(combined.task_pvalues):
        raise ValueError(f"evidences: expected those given to `combine` ({len(combined.task_pvalues)}), found {count}")
    _validate.at_least("n_resamples", n_resamples, 1)
    bound: FloatArray = np.maximum(combined.task_pvalues_holm, combined.pvalue)
    if by_holm(evidences, combined):
        return bound
    active = [k for k in range(count) if evidences[k].discordant]
    keys = [(e.null.sigma, e.null.values.size, e.statistic) for e in evidences]
    active.sort(key=keys.__getitem__)
    kept = [evidences[k] for k in active]
    adjusted = np.ones(count)
    if combined.rule == "max":
        adjusted[active] = _step_down(kept)
    else:
        tested = _AllSets(kept, combined.rule, n_resamples, _validate.seed(rng))
        adjusted[active] = tested.largest_pvalues(combined.pvalue)
        # draws differ between equal tasks, and their order must not decide which of them fails
        adjusted = np.array([max(p for p, key in zip(adjusted, keys, strict=True) if key == own) for own in keys])
    return np.asarray(np.maximum(adjusted, combined.pvalue), dtype=np.float64)


def by_holm(evidences: Sequence[Evidence], combined: CombinedResult) -> bool:
    """Return whether `closed_pvalues` gives Holm's adjusted p-values (or the combined p-value, if larger).

    Parameters
    ----------
    evidences : sequence of Evidence
        The tasks, as given to `combine`.
    combined : CombinedResult
        What `combine` returned for them.
    """
    active = sum(evidence.discordant > 0 for evidence in evidences)
    if combined.rule == "holm" or len(evidences) == 1 or not active or combined.linked or any(combined.margins):
        return True
    return combined.rule != "max" and active > MAX_ENUMERATED


def closed_evalues(b: Counts, c: Counts) -> FloatArray:
    """P-values of the single tasks after an early stop, adjusted by closed testing of the e-process.

    Parameters
    ----------
    b, c : integer array, shape (tasks,)
        Regressions and improvements of each task when the evaluation stopped.

    Returns
    -------
    ndarray of float, shape (tasks,)
        1 / (the smallest e-value over all sets that contain the task), at most 1.

    Notes
    -----
    The e-value of a set is that of its pooled flips (`log_e_value`). If no task of the set has dropped, it is an
    e-process: by Ville's inequality, its value when the evaluation stops is at least 1 / alpha with a probability of
    at most alpha, whatever rule stops the evaluation. Closed testing as in `closed_pvalues`; beyond ten tasks, the
    maximum of the p-value over all tasks and Holm's adjustment of the tasks' own 1 / e-value.

    Examples
    --------
    >>> from gate.stats import closed_evalues
    >>> closed_evalues([40, 6], [5, 7]).round(5).tolist()
    [9e-05, 1.0]
    """
    regressions, improvements = (np.atleast_1d(counts) for counts in _validate.pair(b, c))
    tasks = regressions.size
    if tasks > MAX_ENUMERATED:
        own = np.exp(-np.maximum(log_e_value(regressions, improvements), 0.0))
        whole = math.exp(-max(0.0, float(log_e_value(int(regressions.sum()), int(improvements.sum())))))
        return np.asarray(np.maximum(holm(own), whole), dtype=np.float64)
    members = (np.arange(1, 2**tasks)[:, None] >> np.arange(tasks)) & 1
    log_p = -np.maximum(log_e_value(members @ regressions, members @ improvements), 0.0)
    return np.asarray(np.exp(np.max(np.where(members == 1, log_p[:, None], -np.inf), axis=0)), dtype=np.float64)


def _step_down(tasks: Sequence[Evidence]) -> FloatArray:
    """Return the adjusted p-values of the rule `max`."""
    nulls = [task.null for task in tasks]
    z = np.array([task.statistic / null.sigma for task, null in zip(tasks, nulls, strict=True)])
    order = np.argsort(-z, kind="stable")
    logs = [_rules.log_max([nulls[k] for k in order[i:]], float(z[order[i]])) for i in range(z.size)]
    adjusted = np.empty(z.size)
    adjusted[order] = np.exp(np.maximum.accumulate(logs))
    return adjusted


@dataclass(frozen=True, eq=False)
class _Draws:
    """The statistics of one set of tasks: the data first, then the joint draws from the null.

    total : sum of the signed sums
    cost : sum of the -ln p
    largest : largest signed sum in its null standard deviations
    """

    total: FloatArray
    cost: FloatArray
    largest: FloatArray

    def __add__(self, other: "_Draws") -> "_Draws":
        return _Draws(self.total + other.total, self.cost + other.cost, np.maximum(self.largest, other.largest))


@dataclass
class _AllSets:
    """Every set of tasks, tested by the rules pooled, fisher or omnibus."""

    tasks: Sequence[Evidence]
    rule: Rule
    n_resamples: int
    seed: int
    _adjusted: FloatArray = field(init=False)

    def largest_pvalues(self, pvalue: float) -> FloatArray:
        """Return, for each task, the largest p-value of the sets that contain it; `pvalue` is that of all tasks."""
        self._adjusted = np.maximum([task.pvalue for task in self.tasks], pvalue)
        self._draws = [_draw(task, self.n_resamples, [self.seed, k]) for k, task in enumerate(self.tasks)]
        self._walk([], None)
        return self._adjusted

    def _walk(self, members: list[int], draws: _Draws | None) -> None:
        """Test all sets that extend `members` by later tasks; memory is that of one chain of sets."""
        for k in range(members[-1] + 1 if members else 0, len(self.tasks)):
            extended = [*members, k]
            joined = self._draws[k] if draws is None else draws + self._draws[k]
            if 1 < len(extended) < len(self.tasks):
                self._adjusted[extended] = np.maximum(self._adjusted[extended], self._pvalue(extended, joined))
            self._walk(extended, joined)

    def _pvalue(self, members: Sequence[int], draws: _Draws) -> float:
        tasks = [self.tasks[k] for k in members]
        if self.rule == "pooled" and all(_is_counted(task.null) for task in tasks):
            return math.exp(_log_pooled(tasks))
        sigma = math.sqrt(sum(task.null.sigma**2 for task in tasks))
        parts = {
            "pooled": (draws.total, _TIE * sigma),
            "fisher": (draws.cost, _TIE * (1.0 + draws.cost[0])),
            "max": (draws.largest, _TIE),
        }
        used = list(parts.values()) if self.rule == "omnibus" else [parts[self.rule]]
        size = draws.total.size
        rank = min(int(np.count_nonzero(values >= values[0] - tie)) for values, tie in used)
        hits = rank
        if self.rule == "omnibus" and rank < size:
            hit = np.zeros(size, dtype=np.bool_)
            for values, tie in used:
                # a draw is as extreme as the data if at most `rank` draws are at least as large as it is
                hit |= values > np.partition(values, size - 1 - rank)[size - 1 - rank] + tie
            hits = max(1, int(np.count_nonzero(hit)))
        bound = math.exp(self._log_bound(tasks)) if rank == 1 else 1.0
        return bound if bound < 1.0 / size else hits / size

    def _log_bound(self, tasks: Sequence[Evidence]) -> float:
        """Return an upper bound of ln p that needs no draws."""
        if self.rule == "pooled":
            return _log_pooled(tasks)
        log_fisher = _sums.gamma_log_sf(len(tasks), -sum(task.log_pvalue for task in tasks))
        if self.rule == "fisher":
            return log_fisher
        largest = max(task.statistic / task.null.sigma for task in tasks)
        log_max = _rules.log_max([task.null for task in tasks], largest)
        return math.log(3.0) + min(_log_pooled(tasks), log_max, log_fisher)


def _draw(task: Evidence, n_resamples: int, seed: Sequence[int]) -> _Draws:
    """Return the statistics of one task: the data first, then draws from its null distribution."""
    null = task.null
    distribution = np.cumsum(null.pmf)
    generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed)))
    drawn = np.searchsorted(distribution, generator.random(n_resamples) * distribution[-1], side="right")
    drawn = np.minimum(drawn, null.values.size - 1)
    total = np.concatenate([[task.statistic], null.values[drawn]])
    return _Draws(total, np.concatenate([[-task.log_pvalue], null.costs[drawn]]), total / null.sigma)


def _is_counted(null: Null) -> bool:
    return null.coins is not None and null.unit == 1.0


def _log_pooled(tasks: Sequence[Evidence]) -> float:
    """Return ln p of the pooled sum: exact for counts, otherwise Hoeffding's (1963) bound."""
    total = math.fsum(task.statistic for task in tasks)
    if all(_is_counted(task.null) for task in tasks):
        coins = sum(task.discordant for task in tasks)
        return float(_binomial.log_sf(np.int64((coins + round(total)) // 2), np.int64(coins)))
    variance = sum(task.null.sigma**2 for task in tasks)
    return -0.5 * max(total, 0.0) ** 2 / variance
