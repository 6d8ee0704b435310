"""The part of the result that says how far a candidate's behaviour is from the baseline's. It decides nothing."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from gate.decision.section import ResultSection
from gate.samples import PairedTask
from gate.samples.along import MeasuredPositions, error_of_mean, item_means, same_top_share, weighted_quantiles
from gate.samples.behaviour import text_likelihood
from gate.samples.parting import parting

_LEVELS = (0.5, 0.9, 0.99, 0.999)
LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Lengths at which the agreement of texts is reported, as far as the texts reach."""


class PositionRange(ResultSection):
    """Divergence in a range of positions of the answers."""

    first: int = Field(description="First position: number of the answer's tokens before it.")
    last: int
    measured: int = Field(description="Measured positions.")
    kl_mean: float


class Divergences(ResultSection):
    """KL divergence, baseline || candidate, over the tokens of the answers or texts (nats)."""

    positions: int = Field(description="Measured positions.")
    mean: float = Field(description="Mean over items of the mean over their tokens.")
    error: float | None = Field(
        description="Standard error of `mean` over the draws of stored tokens and of positions, given the items. Null "
        "where it is a lower bound."
    )
    is_bound: bool = Field(description="Whether all figures are lower bounds.")
    median: float = Field(description="Over tokens, as the following ones.")
    p90: float
    p99: float
    p999: float
    max: float
    same_top: float = Field(description="Share of tokens whose most likely token is the baseline's.")
    by_position: list[PositionRange]


class Texts(ResultSection):
    """Likelihood of given text. Pairs are [baseline, candidate]."""

    tokens: int | None = Field(description="The baseline's. Null in files of other tools.")
    bytes: int | None
    words: int | None = Field(None, description="Separated by white space.")
    perplexity: tuple[float, float] | None = Field(description="exp(- log-likelihood per token).")
    perplexity_per_byte: tuple[float, float] | None = Field(description="exp(- log-likelihood per UTF-8 byte).")
    perplexity_per_word: tuple[float, float] | None = Field(None, description="exp(- log-likelihood per word).")
    ratio: float = Field(
        description="Perplexity of the candidate / the baseline: per token, or per byte or word where tokens are "
        "unknown."
    )
    probability_change: float | None = Field(
        description="Mean change of the probability of the text's tokens (proportion)."
    )
    probability_change_rms: float | None = Field(description="Root mean square of that change.")


class Agreement(ResultSection):
    """Share of texts that agree in their first tokens, or to the end."""

    length: int
    share: float


class Partings(ResultSection):
    """Where generated texts begin to differ."""

    unit: Literal["tokens", "words"]
    texts: int
    equal: float = Field(description="Share of texts that are equal to the end.")
    prefix_mean: float = Field(description="Mean length of the common beginning.")
    prefix_median: float
    agreeing: list[Agreement]


class Behaviour(ResultSection):
    """How far the behaviour of a candidate is from the baseline's on one task."""

    divergences: Divergences | None = None
    texts: Texts | None = None
    partings: Partings | None = None


def behaviour_of(pair: PairedTask) -> Behaviour | None:
    """Return what is known of the behaviour on a task; None if nothing is."""
    found = Behaviour(
        divergences=None if pair.positions is None else _divergences(pair.positions),
        texts=_texts(pair),
        partings=_partings(pair),
    )
    return None if found == Behaviour() else found


def _divergences(positions: MeasuredPositions) -> Divergences:
    median, p90, p99, p999 = weighted_quantiles(positions.kl, positions.weight, _LEVELS)
    return Divergences(
        positions=len(positions.kl),
        mean=float(item_means(positions).mean()),
        error=error_of_mean(positions),
        is_bound=positions.variance is None,
        median=median,
        p90=p90,
        p99=p99,
        p999=p999,
        max=float(positions.kl.max()),
        same_top=same_top_share(positions),
        by_position=_ranges(positions),
    )


def _ranges(positions: MeasuredPositions) -> list[PositionRange]:
    """Return the mean divergence at position 0, 1, 2 to 3, 4 to 7 and so on."""
    codes = np.where(positions.position > 0, np.floor(np.log2(np.maximum(positions.position, 1))) + 1, 0).astype(int)
    ranges = []
    for code in np.unique(codes):
        inside = codes == code
        first = 0 if code == 0 else 2 ** (code - 1)
        last = min(max(0, 2**code - 1), int(positions.position.max()))
        mean = float(np.average(positions.kl[inside], weights=positions.weight[inside]))
        ranges.append(PositionRange(first=int(first), last=last, measured=int(inside.sum()), kl_mean=mean))
    return ranges


def _texts(pair: PairedTask) -> Texts | None:
    found = text_likelihood(pair)
    if found is None:
        return None
    first, second = next(iter(found.perplexity.values()))
    return Texts(
        tokens=found.units.get("tokens"),
        bytes=found.units.get("bytes"),
        words=found.units.get("words"),
        perplexity=found.perplexity.get("tokens"),
        perplexity_per_byte=found.perplexity.get("bytes"),
        perplexity_per_word=found.perplexity.get("words"),
        ratio=second / first,
        probability_change=found.probability_change,
        probability_change_rms=found.probability_change_rms,
    )


def _partings(pair: PairedTask) -> Partings | None:
    found = parting(pair)
    if found is None:
        return None
    longest = int(found.prefix.max(initial=0))
    lengths = [length for length in LENGTHS if length <= 2 * max(longest, 1)]
    return Partings(
        unit=found.unit,
        texts=len(found.prefix),
        equal=float(found.equal.mean()),
        prefix_mean=float(found.prefix.mean()),
        prefix_median=float(np.median(found.prefix)),
        agreeing=[Agreement(length=length, share=found.agreeing(length)) for length in lengths],
    )
