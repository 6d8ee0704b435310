"""Power of the whole decision over several tasks, its detectable drop and its required numbers of items."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import special

from gate.stats import _validate
from gate.stats._planned_links import PlannedLinks
from gate.stats._validate import RNG, Counts, FloatArray
from gate.stats.planned import PlannedDecision, PlannedTask
from gate.stats.power import detectable_drop, required_n
from gate.stats.results import Rule

_CLOSE = 0.15  # of the probit of the power: from here, the secant's error is below that of the simulated power
_STEPS = 25
_MAX_SCALE = 1e6


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


def planned_detectable_drop(
    tasks: Sequence[PlannedTask],
    alpha: float = 0.05,
    power: float = 0.8,
    rule: Rule = "omnibus",
    *,
    n_resamples: int = 4_000,
    rng: RNG = None,
    links: PlannedLinks | None = None,
) -> float:
    """Return the smallest drop that the whole decision detects, for tasks of any kind, which may share clusters.

    Parameters
    ----------
    tasks : sequence of PlannedTask
    alpha, power, rule, n_resamples, rng
        As for `decision_detectable_drop`.
    links : PlannedLinks, optional
        Which flips the tasks share. Without it, tasks are independent.

    Returns
    -------
    float
        The drop, the same on every task, in score units; nan if the power is not reached even at the largest drops.

    Examples
    --------
    >>> from gate.stats import PlannedTask, planned_detectable_drop
    >>> round(planned_detectable_drop([PlannedTask(1000, 0.05)]), 4)
    0.0219
    """
    _validate.open_unit("power", power)
    if len(tasks) == 1 and tasks[0].margin == 0.0:
        (task,) = tasks
        return detectable_drop(task.n, task.noise_rate, alpha, power, task.largest * task.gain) / task.gain
    decision = PlannedDecision(tasks, alpha, rule, n_resamples=n_resamples, rng=rng, links=links)
    gained = sum(task.n * task.gain for task in tasks)
    z = float(special.ndtri(power) - special.ndtri(alpha))
    flips = sum(task.n * task.noise_rate for task in tasks)
    guess = max(task.margin for task in tasks) + 0.5 * (z * z + z * math.sqrt(z * z + 4.0 * flips)) / gained
    start = min(task.margin for task in tasks)
    return _solve(decision.power, power, guess, float(decision.largest.max()), (start, alpha))


def planned_scale(
    tasks: Sequence[PlannedTask],
    drop: float,
    alpha: float = 0.05,
    power: float = 0.8,
    rule: Rule = "omnibus",
    *,
    n_resamples: int = 4_000,
    rng: RNG = None,
    links: PlannedLinks | None = None,
) -> float:
    """Return the factor by which the items of all tasks must grow for the whole decision to detect a drop.

    Parameters
    ----------
    tasks, alpha, power, rule, n_resamples, rng, links
        As for `planned_detectable_drop`.
    drop : float
        True drop on every task, in score units, above the smallest margin.

    Returns
    -------
    float
        The factor; below 1 where the given items are more than enough.

    Raises
    ------
    ValueError
        If the drop is not above every task's margin, is above the largest drop of every task, or if more than a
        million times the given items would be needed.

    Examples
    --------
    >>> from gate.stats import PlannedTask, planned_scale
    >>> round(planned_scale([PlannedTask(1000, 0.05)], 0.02), 3)
    1.163
    """
    _validate.open_unit("power", power)
    smallest, largest = min(task.margin for task in tasks), max(task.largest for task in tasks)
    if not smallest < drop <= largest:
        raise ValueError(f"drop: expected a number above {smallest:g} and at most {largest:g}, found {drop}")
    if len(tasks) == 1 and tasks[0].margin == 0.0:
        (task,) = tasks
        return required_n(task.noise_rate, drop * task.gain, alpha, power) / task.n
    seed = _validate.seed(rng)

    def at(root: float) -> float:
        scaled = [task.scaled(root * root) for task in tasks]
        return PlannedDecision(scaled, alpha, rule, n_resamples=n_resamples, rng=seed, links=links).power(drop)

    root = _solve(at, power, 1.0, math.sqrt(_MAX_SCALE), (0.0, alpha))
    if math.isnan(root):
        raise ValueError(f"drop: expected a drop that {_MAX_SCALE:g} times the items can detect, found {drop}")
    return root * root


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


def _solve(
    power_at: Callable[[float], float], power: float, guess: float, largest: float, start: tuple[float, float]
) -> float:
    """Return an x up to `largest` with the given power; nan if there is none. `start` is a smaller x and its power.

    The probit of the power is nearly linear in a drop, and in the square root of the number of items. The last step of
    the secant is taken without an evaluation: simulated powers are not accurate enough for more.
    """
    wanted = float(special.ndtri(power))
    low, high = start[0], largest
    known = (start[0], float(special.ndtri(start[1])))
    x = min(max(guess, low), largest)
    for _ in range(_STEPS):
        reached = float(special.ndtri(min(max(power_at(x), 1e-4), 1.0 - 1e-4)))
        if reached < wanted and x >= largest:
            return math.nan
        low, high = (x, high) if reached < wanted else (low, x)
        slope = (reached - known[1]) / (x - known[0]) if x != known[0] else 0.0
        root = x + (wanted - reached) / slope if slope > 0.0 else math.inf
        if abs(reached - wanted) < _CLOSE or (high - low) < 1e-3 * high:
            return root if low <= root <= high else x
        known = (x, reached)
        # outside the bracket the secant is useless; far outside of the known range it is not trusted
        x = root
        if not low < x < high:
            x = min(4.0 * low, largest) if high >= largest and low > 0.0 else 0.5 * (low + high)
    return x
