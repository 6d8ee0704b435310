"""Confronting two models sample by sample. Pairing is by item, never by row order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gate.errors import SampleError
from gate.samples.record import ModelSamples, TaskSamples

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PairedTask:
    """One task, item by item; row i of both tables is the same item.

    Attributes
    ----------
    task, metric : str
    baseline, candidate : pyarrow.Table
        n rows each, in `SAMPLE_SCHEMA` (one row an item).
    baseline_score, candidate_score : float64 arrays of shape (n,)
    binary : bool
        Whether every score is right or wrong (1 or 0).
    clusters : int64 array of shape (n,) or None
        Equal numbers mark items that belong together.
    left_out : int
        Items that only one side has (`--allow-partial`).
    """

    task: str
    metric: str
    baseline: pa.Table
    candidate: pa.Table
    baseline_score: FloatArray
    candidate_score: FloatArray
    binary: bool
    clusters: npt.NDArray[np.int64] | None = None
    left_out: int = 0

    @property
    def n(self) -> int:
        """Number of paired items."""
        return len(self.baseline_score)

    @property
    def regressions(self) -> int:
        """Items that became worse (right to wrong, where scores are binary)."""
        return int(np.count_nonzero(self.candidate_score < self.baseline_score))

    @property
    def improvements(self) -> int:
        """Items that became better."""
        return int(np.count_nonzero(self.candidate_score > self.baseline_score))

    @property
    def divergences(self) -> FloatArray | None:
        """KL divergence of each item's answer distribution from the baseline's, in nats; None where not measured."""
        column = self.candidate.column("kl")
        return column.to_numpy().astype(np.float64) if column.null_count == 0 else None

    @property
    def same_top_rate(self) -> float | None:
        """Share of items whose likeliest first token is the baseline's; None where not measured."""
        column = self.candidate.column("same_top")
        return float(pc.mean(column).as_py()) if column.null_count == 0 else None

    @property
    def changed_answers(self) -> int:
        """All flips: items whose score changed, or that went from one wrong answer to another."""
        moved = self.candidate_score != self.baseline_score
        both_wrong = (self.candidate_score == self.baseline_score) & (self.baseline_score < 1.0)
        a, b = self.baseline.column("output"), self.candidate.column("output")
        differs = pc.fill_null(pc.not_equal(a, b), False).to_numpy(zero_copy_only=False)
        return int(np.count_nonzero(moved | (both_wrong & differs)))


@dataclass(frozen=True)
class Pairing:
    """All paired tasks, in the baseline's order, and what the user should know about them."""

    tasks: tuple[PairedTask, ...]
    notes: tuple[str, ...] = field(default_factory=tuple)


def pair(
    baseline: ModelSamples,
    candidate: ModelSamples,
    tasks: Sequence[str] | None = None,
    allow_partial: bool = False,
    allow_stopped: bool = False,
) -> Pairing:
    """Pair two models' samples.

    Parameters
    ----------
    baseline, candidate : ModelSamples
    tasks : sequence of str, optional
        Only these tasks; default all.
    allow_partial : bool
        Compare what both sides have instead of refusing; what is left out is in the notes.
    allow_stopped : bool
        Compare a candidate that was stopped early as far as it came: only for who knows why it was stopped.

    Raises
    ------
    SampleError
        Tasks or items that only one side has, the same item twice, other prompts, targets or metrics.
    """
    notes = [*baseline.notes, *candidate.notes]
    names = list(tasks) if tasks is not None else list(dict.fromkeys([*baseline.tasks, *candidate.tasks]))
    both = [name for name in names if name in baseline.tasks and name in candidate.tasks]
    if len(both) < len(names):
        missing = [
            f"{name} (not in {'the baseline' if name not in baseline.tasks else 'the candidate'})"
            for name in names
            if name not in both
        ]
        message = f"{len(missing)} task(s) are on one side only: {', '.join(missing[:5])}"
        if not allow_partial or not both:
            raise SampleError(
                f"{message}.", "Evaluate both models on the same tasks, or pass --allow-partial."
            )
        notes.append(f"{message}; they are left out.")
    paired = []
    for name in both:
        reference = candidate.tasks[name].reference
        measured = reference is not None and reference == baseline.about.get("fingerprint")
        one, note = _pair_task(
            baseline.tasks[name], candidate.tasks[name], allow_partial, measured, allow_stopped
        )
        paired.append(one)
        notes += note
    return Pairing(tuple(paired), tuple(dict.fromkeys(notes)))


def _pair_task(
    baseline: TaskSamples, candidate: TaskSamples, allow_partial: bool, measured: bool, allow_stopped: bool
) -> tuple[PairedTask, list[str]]:
    name, notes = baseline.task, []
    _same_task(baseline, candidate)
    keys = []
    repeated = any(pc.max(one.table.column("repeat")).as_py() for one in (baseline, candidate))
    for side, samples in (("baseline", baseline), ("candidate", candidate)):
        if samples.table.num_rows == 0:
            raise SampleError(f"task {name}: the {side} has no samples.")
        keys.append(_keys(samples.table, repeated))
    a, b = baseline.table, candidate.table
    left_out = 0
    if keys[0].equals(keys[1]):
        _unique(name, keys[0], "baseline")
    elif (places := _one_to_one(keys[0], keys[1])) is not None:
        b = b.take(places)
    else:
        for side, one in zip(("baseline", "candidate"), keys, strict=True):
            _unique(name, one, side)
        a_in_b = pc.is_in(keys[0], value_set=keys[1])
        b_in_a = pc.is_in(keys[1], value_set=keys[0])
        left_out = int(len(a_in_b) - pc.sum(a_in_b).as_py()) + int(len(b_in_a) - pc.sum(b_in_a).as_py())
        if left_out:
            message = _unpaired(name, keys[0].filter(pc.invert(a_in_b)), keys[1].filter(pc.invert(b_in_a)))
            # items that nobody has answered because the gate stopped are no surprise; any other missing one is
            items = pc.count_distinct(a.column("item_id")).as_py()
            stopped = allow_stopped and candidate.stopped_of == items and pc.all(b_in_a).as_py()
            if not (allow_partial or stopped) or left_out == len(a) + len(b):
                raise SampleError(message, "Evaluate both on the same items, or pass --allow-partial.")
            answered = pc.count_distinct(b.column("item_id")).as_py()
            notes.append(
                f"task {name}: stopped early after {answered:,} of {items:,} items."
                if stopped
                else f"{message} They are left out."
            )
            a = a.filter(a_in_b)
            keys[0] = keys[0].filter(a_in_b)
        b = b.take(pc.index_in(keys[0], value_set=keys[1]))
    if not measured:  # the divergence is from some other model than this baseline
        for column in ("kl", "same_top"):
            place = b.schema.get_field_index(column)
            kind = b.schema.field(place)
            b = b.set_column(place, kind, pa.nulls(len(b), kind.type))
    _equal_column(
        name, a, b, "prompt_hash", "prompts", "The same question asked in another way is never compared."
    )
    _equal_column(name, a, b, "target", "targets", "Score both against the same answers.")
    a, b, clusters = _mean_over_repeats(a, b)
    score_a, score_b = (t.column("score").to_numpy().astype(np.float64) for t in (a, b))
    binary = all(bool(np.isin(score, (0.0, 1.0)).all()) for score in (score_a, score_b))
    return PairedTask(name, baseline.metric, a, b, score_a, score_b, binary, clusters, left_out), notes


def _same_task(baseline: TaskSamples, candidate: TaskSamples) -> None:
    facets_a: Mapping[str, str] = {**baseline.facets, "metric": baseline.metric}
    facets_b: Mapping[str, str] = {**candidate.facets, "metric": candidate.metric}
    differs = [key for key in facets_a if key in facets_b and facets_a[key] != facets_b[key]]
    if differs:
        listed = "; ".join(
            f"{key}: {_short(facets_a[key])} against {_short(facets_b[key])}" for key in differs
        )
        raise SampleError(
            f"task {baseline.task}: baseline and candidate were not asked or scored the same way: {listed}.",
            "Evaluate both with the same task settings.",
        )


def _keys(table: pa.Table, repeated: bool) -> pa.ChunkedArray:
    """One text an answer: the item, and the number of the repeat where either side has several."""
    items, repeats = table.column("item_id"), table.column("repeat")
    if not repeated:
        return items
    return pc.binary_join_element_wise(items, pc.cast(repeats, pa.string()), "#")


def _one_to_one(a: pa.ChunkedArray, b: pa.ChunkedArray) -> pa.Array | None:
    """Return the row of `b` with the key of each row of `a`, where both hold the same keys once each; else None.

    One hash table does for all three questions: which row, is any missing, is any there twice.
    """
    if len(a) != len(b):
        return None
    places = pc.index_in(a, value_set=b)
    if places.null_count or np.bincount(places.to_numpy(), minlength=len(a)).max() > 1:
        return None
    return places


def _unique(task: str, keys: pa.ChunkedArray, side: str) -> None:
    if pc.count_distinct(keys).as_py() == len(keys):
        return
    counts = pc.value_counts(keys).to_pylist()
    twice = [entry["values"] for entry in counts if entry["counts"] > 1]
    raise SampleError(
        f"task {task}: the {side} has {len(twice)} item(s) more than once: {_first(twice)}.",
        "Each item may be answered once (or once a repeat): remove the copies.",
    )


def _unpaired(name: str, only_a: pa.ChunkedArray, only_b: pa.ChunkedArray) -> str:
    parts = []
    if len(only_a):
        parts.append(f"{len(only_a)} item(s) only in the baseline ({_first(only_a[:4].to_pylist())})")
    if len(only_b):
        parts.append(f"{len(only_b)} item(s) only in the candidate ({_first(only_b[:4].to_pylist())})")
    return f"task {name}: {' and '.join(parts)}."


def _equal_column(name: str, a: pa.Table, b: pa.Table, column: str, what: str, hint: str) -> None:
    differs = pc.fill_null(pc.not_equal(a.column(column), b.column(column)), False)
    count = pc.sum(differs).as_py() or 0
    if count:
        items = a.column("item_id").filter(differs)[:4].to_pylist()
        raise SampleError(
            f"task {name}: {count} of {len(a)} items have unequal {what}: {_first(items)}.", hint
        )


def _mean_over_repeats(a: pa.Table, b: pa.Table) -> tuple[pa.Table, pa.Table, npt.NDArray[np.int64] | None]:
    """Average scores over the repeats of an item, which are not independent; other columns come from repeat 0."""
    if pc.max(a.column("repeat")).as_py() > 0:
        a, b = (_averaged(table) for table in (a, b))
    cluster = a.column("cluster")
    if cluster.null_count == len(cluster):
        return a, b, None
    codes = pc.fill_null(cluster.combine_chunks().dictionary_encode().indices, -1).to_numpy().astype(np.int64)
    alone = codes < 0  # an item without a cluster belongs to no other item
    codes[alone] = codes.max() + 1 + np.arange(np.count_nonzero(alone))
    return a, b, codes


def _averaged(table: pa.Table) -> pa.Table:
    codes = table.column("item_id").combine_chunks().dictionary_encode().indices.to_numpy()
    count = int(codes.max()) + 1
    means = np.bincount(codes, table.column("score").to_numpy(), count) / np.bincount(codes, minlength=count)
    first = np.full(count, -1)
    order = np.lexsort((table.column("repeat").to_numpy(), codes))
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    first[codes[order][starts]] = order[starts]
    kept = table.take(first)
    return kept.set_column(kept.schema.get_field_index("score"), "score", pa.array(means))


def _first(names: Sequence[str]) -> str:
    shown = ", ".join(str(name)[:16] for name in names[:3])
    return shown + (", ..." if len(names) > 3 else "")


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
