"""Coordinates of the HTML report's plots, as percentages of width and height, so that they scale to any screen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gate.decision import TaskResult
from gate.report.detail import BINS_PER_DECADE, EDGES, Histogram
from gate.report.result import Result
from gate.stats import drop_interval

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """A linear axis from `low` to `high`."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Return the position of a value in percent of the axis, clipped to its ends."""
        return round(100 * min(max((value - self.low) / (self.high - self.low), 0.0), 1.0), 3)

    def ticks(self, most: int = 6) -> list[float]:
        """Return about `most` round values on the axis."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next((step * power for step in _STEPS if step * power >= rough * (1 - 1e-9)), 10 * power)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


@dataclass(frozen=True)
class Pooled:
    """All gating items together.

    `drop` is the mean over the items (proportion); `interval` is its exact 90% interval, or None unless all items
    are independent and binary.
    """

    n: int
    baseline: float
    candidate: float
    drop: float
    interval: tuple[float, float] | None
    regressions: int
    improvements: int


def pooled(result: Result) -> Pooled | None:
    """Add up the gating tasks; None for a single task, and where a score has its own unit."""
    gating = result.gating
    if len(gating) < 2 or any(task.unit == "score" for task in gating):
        return None
    n = result.items
    b, c = sum(task.regressions for task in gating), sum(task.improvements for task in gating)
    interval = None
    if all(task.tested_by_counts for task in gating):
        low, high = drop_interval(b, c, n, 0.9)
        interval = (low, high)
    baseline = sum(task.baseline * task.n for task in gating) / n
    candidate = sum(task.candidate * task.n for task in gating) / n
    return Pooled(n, baseline, candidate, result.drop, interval, b, c)


def drop_scale(tasks: Iterable[TaskResult], lines: Iterable[float]) -> Scale:
    """Return the axis of the forest plot: all intervals, zero, and the drops in `lines`, with padding."""
    values = [0.0, *lines]
    for task in (task for task in tasks if task.unit == "proportion"):
        values += [task.drop, *task.drop_ci90]
    low, high = min(values), max(values)
    padding = 0.06 * (high - low) or 0.01
    return Scale(low - padding, high + padding)


def drop_lines(result: Result) -> list[float]:
    """Return the drops that the policy names, to be marked in plots: a common margin, and the bound to certify."""
    certify = result.certification.margin if result.certification else 0.0
    return [drop for drop in (result.common_margin or 0.0, certify) if drop > 0]


def polyline(drops: Sequence[float], chances: Sequence[float], x: Scale) -> str:
    """Return the points of a curve in a square of 100 by 100, with y pointing down."""
    return " ".join(f"{x.at(drop):g},{100 * (1 - chance):.2f}" for drop, chance in zip(drops, chances, strict=True))


@dataclass(frozen=True)
class Bars:
    """A histogram over the occupied decades of `EDGES`: bins `first` up to `last`, excluded.

    `counts` has all items per bin, `flipped` those whose score changed.
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
    """Add up the histograms of the tasks; None where there are none."""
    counts = [sum(column) for column in zip(*(histogram.counts for histogram in histograms), strict=True)]
    flipped = [sum(column) for column in zip(*(histogram.flipped for histogram in histograms), strict=True)]
    used = [index for index, count in enumerate(counts) if count]
    if not used:
        return None
    first = used[0] // BINS_PER_DECADE * BINS_PER_DECADE
    last = (used[-1] // BINS_PER_DECADE + 1) * BINS_PER_DECADE
    return Bars(first, last, counts[first:last], flipped[first:last])


def decade(index: int) -> str:
    """Return the label of an edge that is a power of ten."""
    exponent = round(math.log10(EDGES[index]))
    return f"{10.0**exponent:g}" if exponent >= -3 else "10⁻" + "⁰¹²³⁴⁵⁶⁷⁸⁹"[-exponent]
