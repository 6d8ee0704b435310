"""A decision over planned tasks, whose power is simulated at many drops."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gate.stats import _validate
from gate.stats._planned_links import LinkedRuleAtMargin, PlannedLinks
from gate.stats._planned_rules import PlannedRule, RuleAtMargin, RuleAtZero, Table, spread_draws
from gate.stats._validate import RNG, FloatArray
from gate.stats.combine import RULES
from gate.stats.results import Rule

_FEW = 60  # expected discordant items of a task
_STRATA, _FEW_TASKS = 16, 8  # half the strata beyond so many tasks or blocks
_NULL_DRAWS = 20_000
_BEYOND = 60  # null draws beyond the critical value
_NEAR_ONE = 1e-6, 1e6  # sizes of differences whose squares need no scaling
_LARGEST_GAIN = 1e300


@dataclass(frozen=True)
class PlannedTask:
    """A task to plan.

    Attributes
    ----------
    n : int
        Paired items.
    noise_rate : float
        Share of items that flip by noise alone, half of them regressions, in [0, 1].
    margin : float, default 0
        Tolerated drop, in score units.
    largest : float, default 1
        Largest possible drop, in score units: the baseline's accuracy. A larger drop of the suite counts as this one.
    gain : float, default 1
        Regressions per item that one unit of drop adds: 1 for independent binary items.
    """

    n: int
    noise_rate: float
    margin: float = 0.0
    largest: float = 1.0
    gain: float = 1.0

    @classmethod
    def from_differences(
        cls, differences: FloatArray, clusters: NDArray[np.int64] | None = None, least: float = 0.0
    ) -> "PlannedTask":
        """Return the binary task that stands for scores of any kind, or for clustered items (an approximation).

        Parameters
        ----------
        differences : array of float, shape (items,)
            Baseline score minus candidate score of each item.
        clusters : array of int, shape (items,), optional
            Cluster of each item.
        least : float, default 0
            Assume at least this many differences.

        Notes
        -----
        Let D be the sum of the differences of a unit (an item or a cluster) and s = sum(D**2) / sum(|D|), the mean
        size of a difference, weighted by size. The task is planned as sum(|D|) / s noise flips of size s, which has
        the observed null variance sum(D**2). A drop d adds d * items / s regressions of the same size.
        """
        units = np.asarray(differences, dtype=np.float64)
        items = units.size
        alone = 1.0
        if clusters is not None:
            groups = np.unique(clusters, return_inverse=True)[1]
            units = np.bincount(groups, weights=units).astype(np.float64)
            alone = items / units.size
        largest = float(np.abs(units).max(initial=0.0))
        # far from 1, squares overflow or vanish
        unit = 1.0 if largest == 0.0 or _NEAR_ONE[0] <= largest <= _NEAR_ONE[1] else largest
        units = units / unit
        total = float(np.abs(units).sum())
        size = float(np.dot(units, units)) / total if total > 0.0 else alone
        flips = max(total / size, least)
        # the scores' unit is arbitrary, so the number of coins only has to leave room for the flips and for the drop
        n = max(round(items / size), units.size, math.ceil(2.0 * flips), 1)
        return cls(n=n, noise_rate=flips / n, gain=min(items / (size * n) / unit, _LARGEST_GAIN))

    def scaled(self, factor: float) -> "PlannedTask":
        """Return the same task with another number of items."""
        return replace(self, n=max(1, round(self.n * factor)))


class PlannedDecision:
    """A decision over tasks whose power can be evaluated at many drops.

    Parameters
    ----------
    tasks : sequence of PlannedTask
    alpha, rule, n_resamples, rng
        As for `decision_power`.
    links : PlannedLinks, optional
        Which flips the tasks share. Without it, tasks are independent.

    Notes
    -----
    With links, noise and drop flip a shared cluster in all of its tasks at once (an approximation).
    """

    def __init__(
        self,
        tasks: Sequence[PlannedTask],
        alpha: float = 0.05,
        rule: Rule = "omnibus",
        *,
        n_resamples: int = 10_000,
        rng: RNG = None,
        links: PlannedLinks | None = None,
    ) -> None:
        if not tasks:
            raise ValueError("tasks: expected at least one task, found none")
        if rule not in RULES:
            raise ValueError(f"rule: expected one of {', '.join(RULES)}, found {rule!r}")
        _validate.open_unit("alpha", alpha)
        _validate.at_least("n_resamples", n_resamples, 1)
        self._n = _validate.counts("n", [task.n for task in tasks])
        self._noise, self._gain, self._margins, self.largest = (
            np.array([getattr(task, name) for task in tasks]) for name in ("noise_rate", "gain", "margin", "largest")
        )
        _validate.proportions("noise_rate", self._noise)
        self._alpha, self._rule = alpha, rule
        self._runs, self._seed = n_resamples, _validate.seed(rng)
        self._links = links

    def power(self, drops: float | FloatArray) -> float:
        """Return the probability of FAIL at one true drop per task, or at a drop that is the same on every task."""
        added = self._n * np.minimum(drops, self.largest) * self._gain
        n, noise, blocks = self._n, self._n * self._noise, None
        if self._links is not None:
            blocks = self._links.blocks
            n = np.rint(self._links.split(n.astype(np.float64))).astype(np.int64)
            noise, added = self._links.split(noise), self._links.split(added)
        flips = noise + np.abs(added)
        total = np.minimum(flips / np.maximum(n, 1), 1.0)
        share = np.clip(0.5 + added / np.maximum(2.0 * flips, 1e-300), 0.0, 1.0)
        generator = np.random.default_rng(self._seed)
        if self._margins.any():
            margins = self._margins * self._gain
            rule: PlannedRule = (
                RuleAtMargin(n, margins, self._alpha, self._rule)
                if blocks is None
                else LinkedRuleAtMargin(blocks, n, margins, self._alpha, self._rule)
            )
            return _rejected(rule, spread_draws(n, total, self._runs, generator), share, generator)
        typical = (n * total)[None, :]
        if (typical if blocks is None else typical @ blocks).min() >= _FEW:
            rule = RuleAtZero(typical[0], self._alpha, self._rule, _NULL_DRAWS, generator, blocks)
            return _rejected(rule, spread_draws(n, total, self._runs, generator), share, generator)
        # the critical values of few discordant items depend on their number
        strata = spread_draws(n, total, _STRATA if n.size <= _FEW_TASKS else _STRATA // 2, generator)
        draws = min(_NULL_DRAWS, max(_NULL_DRAWS // len(strata), math.ceil(_BEYOND / self._alpha)))
        rejected = 0.0
        for m in strata:
            rule = RuleAtZero(m, self._alpha, self._rule, draws, generator, blocks)
            b = spread_draws(m, share, math.ceil(self._runs / len(strata)), generator)
            rejected += float(rule.rejects(b, m - b).mean())
        return rejected / len(strata)


def _rejected(rule: PlannedRule, m: Table, share: FloatArray, generator: np.random.Generator) -> float:
    """Return the share of simulated runs with the given discordant items in which the rule rejects."""
    b = generator.binomial(m, share)
    return float(rule.rejects(b, m - b).mean())
