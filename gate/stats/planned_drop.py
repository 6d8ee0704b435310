"""Which drop the decision over planned tasks detects, and how many items detect a given drop."""

import math
from collections.abc import Callable, Sequence

from scipy import special

from gate.stats import _validate
from gate.stats._planned_links import PlannedLinks
from gate.stats._validate import RNG
from gate.stats.planned import PlannedDecision, PlannedTask
from gate.stats.power import detectable_drop, required_n
from gate.stats.results import Rule

_CLOSE = 0.15  # of the probit of the power: from here, the secant's error is below that of the simulated power
_STEPS = 25
_MAX_SCALE = 1e6


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
        If the drop is not above the smallest margin, is above the largest drop of every task, or if more than a million
        times the given items would be needed.

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
