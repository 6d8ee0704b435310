"""The section "Behaviour" of reports, as tables: how far answers moved, where texts differ, and what both runs cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gate.decision.behaviour import Behaviour, Divergences, Partings, Texts
from gate.decision.wording import number, percent
from gate.report.result import Result

_MOST_POSITIONS = 8


@dataclass(frozen=True)
class BehaviourTable:
    """A table; its first column names a task or a model, the others are numbers.

    Attributes
    ----------
    caption : str
        What the numbers are.
    curves : tuple of tuples of float
        Per row, values to draw as a curve; empty for no curves.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str
    curves: tuple[tuple[float, ...], ...] = ()


def behaviour_tables(result: Result) -> list[BehaviourTable]:
    """Return the tables of the section; empty where nothing was measured."""
    known = [(task.task, task.behaviour) for task in result.tasks if task.behaviour is not None]
    tables = [_divergences(known), _positions(known), _texts(known), _partings(known)]
    measured = [table for table in tables if table.rows]
    costs = _costs(result)
    return [*measured, costs] if measured or len(costs.rows) == 2 else []


Known = list[tuple[str, Behaviour]]


def _divergences(known: Known) -> BehaviourTable:
    found = [(name, each.divergences) for name, each in known if each.divergences is not None]
    return BehaviourTable(
        "KL divergence",
        ("Task", "Tokens", "Mean", "Median", "90%", "99%", "99.9%", "Largest", "Same likeliest token"),
        tuple((name, f"{each.positions:,}", *_ladder(each), percent(each.same_top)) for name, each in found),
        "From the baseline to the candidate, in nats per token, at measured tokens of the right choice, of the "
        "baseline's own text (of many texts, of a sample), or of the given text. ±: standard error of the mean from "
        "the stored tokens, positions and texts, on these items. ≥: lower bounds, where the baseline stores no drawn "
        "tokens or a server does not return the stored ones.",
    )


def _ladder(each: Divergences) -> list[str]:
    mark = "≥ " if each.is_bound else ""
    mean = f"{mark}{number(each.mean)}" + (f" ± {each.error:.2g}" if each.error else "")
    return [mean, *(mark + number(value) for value in (each.median, each.p90, each.p99, each.p999, each.max))]


def _positions(known: Known) -> BehaviourTable:
    found = [(name, each.divergences.by_position) for name, each in known if each.divergences is not None]
    several = [(name, ranges) for name, ranges in found if len(ranges) > 1]
    heads = dict.fromkeys((each.first, _range(each.first, each.last)) for _, ranges in several for each in ranges)
    starts = sorted({first for first, _ in heads})[:_MOST_POSITIONS]
    names = {first: max((name for start, name in heads if start == first), key=len) for first in starts}
    rows = []
    for name, ranges in several:
        values = {each.first: number(each.kl_mean) for each in ranges}
        rows.append((name, *(values.get(first, "-") for first in starts)))
    return BehaviourTable(
        "KL divergence by position",
        ("Task", *(names[first] for first in starts)),
        tuple(rows),
        "Mean in nats at the tokens of the answer, counted from 0.",
        tuple(tuple(each.kl_mean for each in ranges[:_MOST_POSITIONS]) for _, ranges in several),
    )


def _range(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first} to {last}"


def _texts(known: Known) -> BehaviourTable:
    found = [(name, each.texts) for name, each in known if each.texts is not None]
    return BehaviourTable(
        "Likelihood of text",
        ("Task", "Text", "Perplexity", "Ratio", "Change of the token's probability", "RMS"),
        tuple((name, *cells) for name, each in found for cells in _likelihoods(each)),
        "Perplexity per token, byte and word, baseline → candidate; lower is better, so a ratio above 1 is a loss. The "
        "last two columns are the mean and the root mean square of the change in the probability of the text's own "
        "tokens, in points.",
    )


def _likelihoods(each: Texts) -> list[tuple[str, ...]]:
    """Return the cells per unit."""
    rows: list[tuple[str, ...]] = []
    changes = (each.probability_change, each.probability_change_rms)
    for size, unit, perplexity in (
        (each.tokens, "tokens", each.perplexity),
        (each.bytes, "bytes", each.perplexity_per_byte),
        (each.words, "words", each.perplexity_per_word),
    ):
        if size is not None and perplexity is not None:
            first, second = perplexity
            known = changes if unit == "tokens" else (None, None)
            change, rms = (
                "-" if value is None else f"{100 * value:{sign}.3f}" for value, sign in zip(known, "+-", strict=True)
            )
            rows.append((f"{size:,} {unit}", f"{first:.5g} → {second:.5g}", f"{second / first:.4f}", change, rms))
    return rows


def _partings(known: Known) -> BehaviourTable:
    found = [(name, each.partings) for name, each in known if each.partings is not None]
    return BehaviourTable(
        "Where texts begin to differ",
        ("Task", "Texts", "Equal to the end", "Common beginning, median", "Agree in the first 1", "8", "32", "128"),
        tuple((name, f"{each.texts:,}", *_agreement(each)) for name, each in found),
        "The candidate's own texts against the baseline's, in tokens (in words where a side stores no tokens). Texts "
        "that are equal to the end agree at every length.",
        tuple(tuple(agreement.share for agreement in each.agreeing) for _, each in found),
    )


def _agreement(each: Partings) -> list[str]:
    shares = {agreement.length: agreement.share for agreement in each.agreeing}
    return [
        percent(each.equal),
        f"{each.prefix_median:g} {each.unit}",
        *(percent(shares.get(length, each.equal)) for length in (1, 8, 32, 128)),
    ]


def _costs(result: Result) -> BehaviourTable:
    rows = []
    for name, about in (("Baseline", result.baseline), ("Candidate", result.candidate)):
        sets = about.get("sets")
        parts = list(sets.values()) if isinstance(sets, Mapping) else []
        seconds, tokens = _total(parts, "seconds", sum), _total(parts, "tokens", sum)
        cells = (
            "-" if tokens is None else f"{tokens:,.0f}",
            "-" if seconds is None else f"{seconds:,.1f}",
            "-" if not seconds or tokens is None else f"{tokens / seconds:,.0f}",
            _size(about.get("weights_bytes")),
            _size(_total(parts, "peak_memory", max)),
        )
        if any(cell != "-" for cell in cells):
            rows.append((name, *cells))
    return BehaviourTable(
        "Cost",
        ("Model", "Tokens", "Seconds", "Tokens/s", "Weights", "Peak memory"),
        tuple(rows),
        "Of the evaluations that made the samples, cached or not; speeds are comparable only on idle machines.",
    )


def _total(parts: Sequence[object], key: str, join: Callable[[list[float]], float]) -> float | None:
    values = [part.get(key) for part in parts if isinstance(part, Mapping)]
    known = [float(value) for value in values if isinstance(value, int | float)]
    return join(known) if known and len(known) == len(parts) else None


def _size(value: object) -> str:
    if not isinstance(value, int | float):
        return "-"
    return f"{value / 1e9:,.2f} GB" if value >= 1e9 else f"{value / 1e6:,.0f} MB"
