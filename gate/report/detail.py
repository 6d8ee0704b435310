"""What the HTML report shows beyond result.json: flips up to a limit, and histograms of the KL divergence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from gate.common.indices import parse_index
from gate.report.flips import answer_text, has_logprobs, logprob_shifts
from gate.report.result import Result
from gate.samples import PairedTask, Pairing
from gate.samples.along import item_means

Kind = Literal["worse", "better", "other"]
KINDS: tuple[Kind, ...] = ("worse", "better", "other")
"""The score fell; the score rose; the answer changed, but its score did not and is below 1."""

MOST_FLIPS = 10_000
BINS_PER_DECADE = 8
_DECADES = (-6, 2)
EDGES: tuple[float, ...] = tuple(
    float(edge) for edge in np.logspace(*_DECADES, (_DECADES[1] - _DECADES[0]) * BINS_PER_DECADE + 1)
)
"""Edges of the histogram's bins, in nats; the first and last bins also hold all smaller and larger values."""


@dataclass(frozen=True)
class FlipDetail:
    """One item that the two models answered differently.

    Pairs are (baseline, candidate).

    Attributes
    ----------
    target, baseline, candidate : str or None
        The right answer and both answers (the text of a choice where the samples have it).
    shift : float or None
        Loss in log-likelihood of the right choice relative to the best wrong one, in nats.
    picked, right : int or None
        Indices of the choices that the models picked, and of the right choice.
    logprobs : pair of tuples of float or None
        Log-likelihood of each choice, in nats.
    kl : float or None
        KL divergence of the answer's tokens from the baseline's, mean in nats.
    """

    task: str
    item_id: str
    kind: Kind
    prompt: str | None
    target: str | None
    baseline: str | None
    candidate: str | None
    scores: tuple[float, float] | None = None
    shift: float | None = None
    choices: tuple[str, ...] = ()
    picked: tuple[int | None, int | None] = (None, None)
    right: int | None = None
    logprobs: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    kl: float | None = None


@dataclass(frozen=True)
class Histogram:
    """Number of items of a task per bin of `EDGES`, by KL divergence: the measured ones, and those that flipped."""

    task: str
    counts: tuple[int, ...]
    flipped: tuple[int, ...]


@dataclass(frozen=True)
class Detail:
    """The content of the flip explorer and of the histogram.

    Attributes
    ----------
    flips : tuple of FlipDetail
        By kind in the order of `KINDS`, then largest shift first.
    totals : mapping of kind to int
        All flips of the comparison, including those not in `flips`.
    from_samples : bool
        False where only result.json was available.
    """

    flips: tuple[FlipDetail, ...]
    totals: Mapping[Kind, int]
    histograms: tuple[Histogram, ...] = ()
    from_samples: bool = True


def build_detail(pairing: Pairing, most_flips: int = MOST_FLIPS) -> Detail:
    """Collect the flips and histograms from the samples.

    At most `most_flips` flips are kept: by kind in the order of `KINDS`, then largest shift first. Tasks take turns
    where shifts are unknown.
    """
    kinds = [_kinds(pair) for pair in pairing.tasks]
    keys = [
        key for order, pair in enumerate(pairing.tasks) for key in _sort_keys(pair, kinds[order], order, most_flips)
    ]
    keys.sort()
    kept = [(order, row) for *_, order, row in keys[:most_flips]]
    details: dict[tuple[int, int], FlipDetail] = {}
    for order, pair in enumerate(pairing.tasks):
        rows = np.array([row for task, row in kept if task == order], dtype=np.int64)
        details.update(zip(((order, int(row)) for row in rows), _details(pair, rows), strict=True))
    histograms = (divergence_histogram(pair) for pair in pairing.tasks)
    return Detail(
        flips=tuple(details[key] for key in kept),
        totals={kind: sum(int(np.count_nonzero(codes == code)) for codes in kinds) for code, kind in enumerate(KINDS)},
        histograms=tuple(histogram for histogram in histograms if histogram is not None),
    )


def detail_of_result(result: Result) -> Detail:
    """Return what result.json alone contains: its worst flips, and the number of all flips."""
    flips = tuple(FlipDetail(kind="worse", **dict(flip)) for flip in result.flips)
    changed = sum(round(task.all_flip_rate * task.n) for task in result.tasks)
    worse = result.regressions
    better = sum(task.improvements for task in result.tasks)
    totals: dict[Kind, int] = {"worse": worse, "better": better, "other": max(0, changed - worse - better)}
    return Detail(flips, totals, from_samples=False)


def divergence_histogram(pair: PairedTask) -> Histogram | None:
    """Count the measured items of a task by KL divergence; None where it was not measured."""
    if pair.positions is None:
        return None
    kl = item_means(pair.positions)
    bins = np.clip(np.searchsorted(EDGES, kl, side="right") - 1, 0, len(EDGES) - 2)
    before, after = pair.answers
    flipped = bins[(after != before)[pair.positions.rows]]
    counts, flipped_counts = (np.bincount(values, minlength=len(EDGES) - 1) for values in (bins, flipped))
    return Histogram(pair.task, tuple(map(int, counts)), tuple(map(int, flipped_counts)))


def _kinds(pair: PairedTask) -> npt.NDArray[np.int8]:
    """Return each item's index in `KINDS`; -1 where both answers are the same."""
    a, b = pair.baseline_score, pair.candidate_score
    differs = pc.fill_null(pc.not_equal(pair.baseline.column("output"), pair.candidate.column("output")), False)
    codes = np.full(pair.n, -1, dtype=np.int8)
    codes[(a == b) & (a < 1.0) & differs.to_numpy(zero_copy_only=False)] = 2
    codes[b > a] = 1
    codes[b < a] = 0
    return codes


def _sort_keys(
    pair: PairedTask, kinds: npt.NDArray[np.int8], order: int, most: int
) -> Iterator[tuple[int, float, float, int, int, int]]:
    """Yield one key per flip: kind, -|shift|, -|change of score|, rank in the task, index of the task, row."""
    for code in range(len(KINDS)):
        rows = np.flatnonzero(kinds == code)
        if not len(rows):
            continue
        rows = rows[pc.sort_indices(pair.baseline.column("item_id").take(rows)).to_numpy()]
        shift = np.abs(logprob_shifts(pair, rows))
        change = np.abs(pair.candidate_score[rows] - pair.baseline_score[rows])
        for rank, index in enumerate(np.lexsort((-change, -shift))[:most]):
            yield code, -float(shift[index]), -float(change[index]), rank, order, int(rows[index])


def _details(pair: PairedTask, rows: npt.NDArray[np.int64]) -> Iterator[FlipDetail]:
    shifts = logprob_shifts(pair, rows) if has_logprobs(pair) else None
    sides = (table.take(rows).to_pylist() for table in (pair.baseline, pair.candidate))
    kinds = _kinds(pair)[rows]
    positions = pair.positions
    kl = {} if positions is None else dict(zip(positions.rows.tolist(), item_means(positions).tolist(), strict=True))
    for index, (baseline, candidate) in enumerate(zip(*sides, strict=True)):
        choices = tuple(str(text) for text in baseline["choices"] or ())
        logprobs = baseline["choice_logprobs"], candidate["choice_logprobs"]
        comparable = all(logprobs) and len(logprobs[0]) == len(logprobs[1])
        row = rows[index]
        yield FlipDetail(
            task=pair.task,
            item_id=str(baseline["item_id"]),
            kind=KINDS[kinds[index]],
            prompt=baseline["prompt"],
            target=answer_text(baseline, "target"),
            baseline=answer_text(baseline, "output"),
            candidate=answer_text(candidate, "output"),
            scores=(float(pair.baseline_score[row]), float(pair.candidate_score[row])),
            shift=None if shifts is None else float(shifts[index]),
            choices=choices,
            picked=(parse_index(baseline["output"], len(choices)), parse_index(candidate["output"], len(choices))),
            right=parse_index(baseline["target"], len(choices)),
            logprobs=(tuple(logprobs[0]), tuple(logprobs[1])) if comparable else None,
            kl=kl.get(int(row)),
        )
