"""Positions in the HTML report's plots, in per cent of their width and height, so that they stretch to any screen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gate.decision import TaskResult
from gate.report.curves import PowerCurves
from gate.report.detail import EDGES, PER_DECADE, Histogram
from gate.report.result import Result
from gate.stats import tango_interval

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """A linear axis from `low` to `high`."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Return a value's place in per cent of the axis; outside it, the nearer end."""
        return round(100 * min(max((value - self.low) / (self.high - self.low), 0.0), 1.0), 3)

    def ticks(self, most: int = 6) -> list[float]:
        """Return at most `most` round values on the axis."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next((one * power for one in _STEPS if one * power >= rough * (1 - 1e-9)), 10 * power)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


@dataclass(frozen=True)
class Pooled:
    """All gating items together.

    Attributes
    ----------
    drop : float
        Mean over the items (proportion).
    interval : pair of float or None
        90 % interval; None where items are clustered or scores are not right or wrong.
    """

    n: int
    baseline: float
    candidate: float
    drop: float
    interval: tuple[float, float] | None
    regressions: int
    improvements: int


def pooled(result: Result) -> Pooled | None:
    """Add up the gating tasks; None where there is only one, which says the same."""
    gating = [task for task in result.tasks if task.role == "gating"]
    n = sum(task.n for task in gating)
    if len(gating) < 2 or n == 0:
        return None
    b, c = sum(task.regressions for task in gating), sum(task.improvements for task in gating)
    # a row's own interval is Tango's where its items are independent and right or wrong
    counted = all(
        math.dist(tango_interval(task.regressions, task.improvements, task.n, 0.9), task.drop_ci90) < 1e-6
        for task in gating
    )
    low, high = tango_interval(b, c, n, 0.9) if counted else (math.nan, math.nan)
    baseline, candidate = (
        sum(getattr(task, side) * task.n for task in gating) / n for side in ("baseline", "candidate")
    )
    return Pooled(
        n, baseline, candidate, baseline - candidate, (float(low), float(high)) if counted else None, b, c
    )


def drop_scale(tasks: Iterable[TaskResult], lines: Iterable[float]) -> Scale:
    """Return the axis of the forest plot: all intervals, zero, and the other `lines`, with some room."""
    values = [0.0, *lines]
    for task in tasks:
        values += [task.drop, *task.drop_ci90]
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.01
    return Scale(low - room, high + room)


def drop_lines(result: Result) -> list[float]:
    """Return the drops that the decision asks about besides zero: the margin, and the bound to certify."""
    certify = result.certification.margin if result.certification else 0.0
    return [drop for drop in (result.margin, certify) if drop > 0]


def polyline(drops: Sequence[float], chances: Sequence[float], x: Scale) -> str:
    """Return a curve's points for a square of 100 by 100, y downwards."""
    return " ".join(
        f"{x.at(drop):g},{100 * (1 - chance):.2f}" for drop, chance in zip(drops, chances, strict=True)
    )


def power_scale(curves: PowerCurves) -> Scale:
    """Return the axis of true drops."""
    return Scale(0.0, curves.drops[-1])


@dataclass(frozen=True)
class Bars:
    """A histogram over the occupied decades of `EDGES`.

    Attributes
    ----------
    first, last : int
        The bins shown, `last` excluded.
    counts, flipped : lists of int
    """

    first: int
    last: int
    counts: list[int]
    flipped: list[int]

    @property
    def top(self) -> int:
        """Largest count."""
        return max(self.counts, default=0)


def pooled_bars(histograms: Sequence[Histogram]) -> Bars | None:
    """Add the tasks' histograms up; None where there are none."""
    if not histograms:
        return None
    counts, flipped = (
        [sum(column) for column in zip(*(getattr(one, name) for one in histograms), strict=True)]
        for name in ("counts", "flipped")
    )
    used = [place for place, count in enumerate(counts) if count]
    if not used:
        return None
    first = used[0] // PER_DECADE * PER_DECADE
    last = (used[-1] // PER_DECADE + 1) * PER_DECADE
    return Bars(first, last, counts[first:last], flipped[first:last])


def edge(place: int) -> float:
    """Return the lower edge of a bin, nats."""
    return EDGES[place]


def decade(place: int) -> str:
    """Return the label of a bin's lower edge where it is a power of ten."""
    exponent = round(math.log10(EDGES[place]))
    return f"{10.0**exponent:g}" if exponent >= -3 else "10⁻" + "⁰¹²³⁴⁵⁶⁷⁸⁹"[-exponent]
