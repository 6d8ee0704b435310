"""What the HTML report shows beyond result.json: every flip up to a bound, and how far the answers moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from gate.report.flips import _answer, _has_logprobs, _shifts
from gate.report.result import Result
from gate.samples import PairedTask, Pairing

Kind = Literal["worse", "better", "other"]
KINDS: tuple[Kind, ...] = ("worse", "better", "other")
"""Score fell; score rose; another answer of the same score, which is not a right one."""

MOST_FLIPS = 10_000
_DECADES = (-6, 2)
PER_DECADE = 8
EDGES: tuple[float, ...] = tuple(
    float(edge) for edge in np.logspace(*_DECADES, (_DECADES[1] - _DECADES[0]) * PER_DECADE + 1)
)
"""Edges of the histogram's bins, nats; the first bin also holds all that is smaller, the last all that is larger."""


@dataclass(frozen=True)
class FlipDetail:
    """One item that the two models answered differently.

    Attributes
    ----------
    task, item_id : str
    kind : 'worse', 'better' or 'other'
    prompt, target, baseline, candidate : str or None
        The question, the right answer and the two given (the text of a choice where the data has it).
    scores : pair of float or None
        Baseline's and candidate's score.
    shift : float or None
        Fall of the right choice's log-likelihood against the best wrong one, in nats.
    choices : tuple of str
        Empty where there are none.
    picked : pair of int or None
        Index of the choice that each side gave.
    right : int or None
        Index of the right choice.
    logprobs : pair of tuples of float or None
        Log-likelihood of each choice, in nats: the baseline's, the candidate's.
    kl : float or None
        Divergence of the answer's first token from the baseline's, in nats.
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
    """How many items of a task have a KL divergence within each bin of `EDGES`.

    Attributes
    ----------
    counts, flipped : tuples of int
        All items, and those of them whose score changed.
    """

    task: str
    counts: tuple[int, ...]
    flipped: tuple[int, ...]


@dataclass(frozen=True)
class Detail:
    """What the flip explorer and the histogram show.

    Attributes
    ----------
    flips : tuple of FlipDetail
        Worse ones first, in each kind the largest shift first.
    totals : mapping of kind to int
        All flips of the comparison, shown or not.
    histograms : tuple of Histogram
        One for each task whose divergence was measured.
    whole : bool
        Whether it was built from the samples; False where only result.json was there.
    """

    flips: tuple[FlipDetail, ...]
    totals: Mapping[Kind, int]
    histograms: tuple[Histogram, ...] = ()
    whole: bool = True

    @property
    def left_out(self) -> int:
        """Flips that are not in `flips`."""
        return sum(self.totals.values()) - len(self.flips)


def build_detail(pairing: Pairing, most_flips: int = MOST_FLIPS) -> Detail:
    """Collect what the HTML report shows from the samples themselves.

    Parameters
    ----------
    pairing : Pairing
    most_flips : int
        Bound on the flips kept: the worse ones first, of each kind those with the largest shift, tasks in turn
        where there is no shift.

    Returns
    -------
    Detail
    """
    kinds = [_kinds(pair) for pair in pairing.tasks]
    keys = [
        key
        for order, pair in enumerate(pairing.tasks)
        for key in _keys(pair, kinds[order], order, most_flips)
    ]
    keys.sort()
    wanted = [(order, place) for *_, order, place in keys[:most_flips]]
    found: dict[tuple[int, int], FlipDetail] = {}
    for order, pair in enumerate(pairing.tasks):
        places = np.array([place for task, place in wanted if task == order], dtype=np.int64)
        found.update(zip(((order, int(place)) for place in places), _rows(pair, places), strict=True))
    return Detail(
        flips=tuple(found[key] for key in wanted),
        totals={
            kind: sum(int(np.count_nonzero(codes == code)) for codes in kinds)
            for code, kind in enumerate(KINDS)
        },
        histograms=tuple(
            one for pair in pairing.tasks for one in [divergence_histogram(pair)] if one is not None
        ),
    )


def detail_of_result(result: Result) -> Detail:
    """Return what result.json alone says: its worst flips, and how many there were in all."""
    flips = tuple(
        FlipDetail(
            one.task,
            one.item_id,
            "worse",
            one.question,
            one.expected,
            one.baseline,
            one.candidate,
            shift=one.shift,
        )
        for one in result.flips
    )
    every = sum(round(task.all_flip_rate * task.n) for task in result.tasks)
    worse = sum(task.regressions for task in result.tasks)
    better = sum(task.improvements for task in result.tasks)
    totals: dict[Kind, int] = {"worse": worse, "better": better, "other": max(0, every - worse - better)}
    return Detail(flips, totals, whole=False)


def divergence_histogram(pair: PairedTask) -> Histogram | None:
    """Count a task's items by KL divergence; None where it was not measured."""
    kl = pair.divergences
    if kl is None:
        return None
    bins = np.clip(np.searchsorted(EDGES, kl, side="right") - 1, 0, len(EDGES) - 2)
    moved = pair.candidate_score != pair.baseline_score
    counts, flipped = (np.bincount(one, minlength=len(EDGES) - 1) for one in (bins, bins[moved]))
    return Histogram(pair.task, tuple(map(int, counts)), tuple(map(int, flipped)))


def _kinds(pair: PairedTask) -> npt.NDArray[np.int8]:
    """Return each item's place in `KINDS`; -1 where both answers are the same."""
    a, b = pair.baseline_score, pair.candidate_score
    differs = pc.fill_null(
        pc.not_equal(pair.baseline.column("output"), pair.candidate.column("output")), False
    )
    codes = np.full(pair.n, -1, dtype=np.int8)
    codes[(a == b) & (a < 1.0) & differs.to_numpy(zero_copy_only=False)] = 2
    codes[b > a] = 1
    codes[b < a] = 0
    return codes


def _keys(
    pair: PairedTask, kinds: npt.NDArray[np.int8], order: int, most: int
) -> Iterator[tuple[int, float, float, int, int, int]]:
    """Yield the sort key of each flip of a task: kind, size of the shift, of the change, rank, task, row."""
    for code in range(len(KINDS)):
        places = np.flatnonzero(kinds == code)
        if not len(places):
            continue
        places = places[pc.sort_indices(pair.baseline.column("item_id").take(places)).to_numpy()]
        size = np.abs(_shifts(pair, places))
        change = np.abs(pair.candidate_score[places] - pair.baseline_score[places])
        best = np.lexsort((-change, -size))[:most]
        for rank, one in enumerate(best):
            yield code, -float(size[one]), -float(change[one]), rank, order, int(places[one])


def _rows(pair: PairedTask, places: npt.NDArray[np.int64]) -> Iterator[FlipDetail]:
    """Yield the details of a task's items at the given rows."""
    shifts = _shifts(pair, places) if _has_logprobs(pair) else None
    tables = (table.take(places).to_pylist() for table in (pair.baseline, pair.candidate))
    codes = _kinds(pair)[places]
    for number, (a, b) in enumerate(zip(*tables, strict=True)):
        choices = tuple(str(text) for text in a["choices"] or ())
        scores = a["choice_logprobs"], b["choice_logprobs"]
        known = all(scores) and len(scores[0]) == len(scores[1])
        place = places[number]
        yield FlipDetail(
            task=pair.task,
            item_id=str(a["item_id"]),
            kind=KINDS[codes[number]],
            prompt=a["prompt"],
            target=_answer(a, "target"),
            baseline=_answer(a, "output"),
            candidate=_answer(b, "output"),
            scores=(float(pair.baseline_score[place]), float(pair.candidate_score[place])),
            shift=None if shifts is None else float(shifts[number]),
            choices=choices,
            picked=(_index(a["output"], choices), _index(b["output"], choices)),
            right=_index(a["target"], choices),
            logprobs=(tuple(scores[0]), tuple(scores[1])) if known else None,
            kl=b["kl"],
        )


def _index(value: object, choices: Sequence[str]) -> int | None:
    if isinstance(value, str) and value.isdecimal() and int(value) < len(choices):
        return int(value)
    return None
