"""Power of the whole decision over several tasks, its detectable drop and its required numbers of items."""

from collections.abc import Sequence

import numpy as np

from gate.stats import _validate
from gate.stats._validate import RNG, Counts, FloatArray
from gate.stats.planned import PlannedDecision, PlannedTask
from gate.stats.planned_drop import planned_detectable_drop, planned_scale
from gate.stats.results import Rule


def decision_power(
    n: int | Counts,
    flip_rates: Sequence[float] | FloatArray,
    drops: Sequence[float] | FloatArray,
    alpha: float = 0.05,
    rule: Rule = "omnibus",
    *,
    margin: float = 0.0,
    n_resamples: int = 10_000,
    rng: RNG = None,
) -> float:
    """Return the probability that the decision over all tasks fails a candidate with given true drops.

    Parameters
    ----------
    n : int or integer array, shape (tasks,)
        Paired items of each task.
    flip_rates : array of float, shape (tasks,)
        Expected share of discordant items of each task, those that the drop adds included.
    drops : array of float, shape (tasks,)
        True drop of each task, a proportion of size at most its flip rate.
    alpha : float, default 0.05
        Level of the decision.
    rule : {'omnibus', 'pooled', 'max', 'fisher', 'holm'}, default 'omnibus'
        The rule that decides.
    margin : float, default 0
        Tolerated drop of every task, a proportion.
    n_resamples : int, default 10,000
        Simulated evaluations.
    rng : int or numpy.random.Generator, optional
        Seed of the simulation, or a generator that provides it; by default the seed is random.

    Returns
    -------
    float
        The power; its standard error is about sqrt(power (1 - power) / n_resamples).

    Notes
    -----
    Discordant counts M_k ~ Bin(n_k, flip_k) and regressions Bin(M_k, 1/2 + drop_k / (2 flip_k)) are drawn, evenly
    spread (Latin hypercube), and tested. At margin 0, pooled and Holm are exact. The null distributions of max, Fisher
    and omnibus are enumerated or drawn at the expected M_k, or at 16 evenly spread draws of the M_k (8 beyond eight
    tasks) where a task expects fewer than 60. At levels below .002, which draws cannot resolve, omnibus is planned as
    its three parts at alpha / 3 each. At a margin above 0, the score test stands for the exact unconditional test of
    each task.

    Examples
    --------
    >>> from gate.stats import decision_power
    >>> power = decision_power([1172, 10042, 1319], [0.08, 0.05, 0.12], [0.01, 0, 0.02], n_resamples=2000, rng=0)
    >>> 0.4 < power < 0.8
    True
    """
    flips = _rates("flip_rates", flip_rates)
    shift = np.asarray(drops, dtype=np.float64)
    if shift.shape != flips.shape:
        raise ValueError(f"drops: expected one per task ({flips.size}), found an array of shape {shift.shape}")
    wrong = ~(np.abs(shift) <= flips * (1 + 1e-12))
    if wrong.any():
        raise ValueError(
            f"drops: expected an absolute value of at most the task's flip rate {flips[wrong][0]}, "
            f"found {shift[wrong][0]}"
        )
    tasks = _tasks(n, np.maximum(flips - np.abs(shift), 0.0), margin, 1.0)
    return PlannedDecision(tasks, alpha, rule, n_resamples=n_resamples, rng=rng).power(shift)


def decision_detectable_drop(
    n: int | Counts,
    noise_rates: Sequence[float] | FloatArray,
    alpha: float = 0.05,
    power: float = 0.8,
    rule: Rule = "omnibus",
    *,
    margin: float = 0.0,
    largest: float | Sequence[float] = 1.0,
    n_resamples: int = 4_000,
    rng: RNG = None,
) -> float:
    """Return the smallest drop, the same on every task, that the whole decision detects with the given power.

    Parameters
    ----------
    n, alpha, rule, margin, rng
        As for `decision_power`.
    noise_rates : array of float, shape (tasks,)
        Share of items that flip by noise alone, half of them regressions.
    power : float, default 0.8
        Required power.
    largest : float or sequence of float, default 1
        Largest possible drop of each task: the baseline's accuracy.
    n_resamples : int, default 4,000
        Simulated evaluations for each drop tried.

    Returns
    -------
    float
        The drop as a proportion, to about two digits; nan if the power is not reached even at the largest drops.

    Notes
    -----
    The drop d adds regressions to the noise: improvements have the rate noise / 2, regressions noise / 2 + d. One task
    at margin 0 is exact (`detectable_drop`).

    Examples
    --------
    >>> from gate.stats import decision_detectable_drop
    >>> 0.008 < decision_detectable_drop([1000, 1000], [0.05, 0.05], n_resamples=1000, rng=0) < 0.018
    True
    """
    tasks = _tasks(n, _rates("noise_rates", noise_rates), margin, largest)
    return planned_detectable_drop(tasks, alpha, power, rule, n_resamples=n_resamples, rng=rng)


def decision_required_n(
    n: int | Counts,
    noise_rates: Sequence[float] | FloatArray,
    drop: float,
    alpha: float = 0.05,
    power: float = 0.8,
    rule: Rule = "omnibus",
    *,
    margin: float = 0.0,
    largest: float | Sequence[float] = 1.0,
    n_resamples: int = 4_000,
    rng: RNG = None,
) -> int:
    """Return the items that the whole decision needs, over all tasks, to detect a drop that is the same on every task.

    Parameters
    ----------
    n : int or integer array, shape (tasks,)
        Items of each task; only their proportions matter.
    drop : float
        True drop, a proportion above the margin.
    noise_rates, alpha, power, rule, margin, largest, n_resamples, rng
        As for `decision_detectable_drop`.

    Raises
    ------
    ValueError
        If the drop is not above the margin, is above the largest drop of every task, or if more than a million times
        the given items would be needed.

    Examples
    --------
    >>> from gate.stats import decision_required_n
    >>> 3_000 < decision_required_n([500, 500], [0.08, 0.08], 0.01, n_resamples=1000, rng=0) < 8_000
    True
    """
    tasks = _tasks(n, _rates("noise_rates", noise_rates), margin, largest)
    scale = planned_scale(tasks, drop, alpha, power, rule, n_resamples=n_resamples, rng=rng)
    return sum(task.scaled(scale).n for task in tasks)


def _rates(name: str, rates: Sequence[float] | FloatArray) -> FloatArray:
    values = np.atleast_1d(np.asarray(rates, dtype=np.float64))
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"{name}: expected one per task, found an array of shape {values.shape}")
    _validate.proportions(name, values)
    return values


def _tasks(
    n: int | Counts, noise_rates: FloatArray, margin: float, largest: float | Sequence[float]
) -> list[PlannedTask]:
    sizes = _validate.counts("n", n)
    if sizes.shape not in ((), noise_rates.shape):
        raise ValueError(f"n: expected one number, or one per task ({noise_rates.size}), found shape {sizes.shape}")
    limits = np.broadcast_to(np.asarray(largest, dtype=np.float64), noise_rates.shape)
    rows = zip(np.broadcast_to(sizes, noise_rates.shape).tolist(), noise_rates.tolist(), limits.tolist(), strict=True)
    return [PlannedTask(size, rate, margin, limit) for size, rate, limit in rows]
