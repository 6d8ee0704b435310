"""Pair the samples of two models by item, and refuse pairs that are not comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gate.common.smoothing import BASES
from gate.errors import SampleError
from gate.samples.alignment import Alignment, align, first_names
from gate.samples.along import MeasuredPositions, measured_positions
from gate.samples.clusters import cluster_numbers
from gate.samples.differences import differing_names, where_texts_part
from gate.samples.duplicates import numbered
from gate.samples.record import ModelSamples, TaskSamples
from gate.samples.repeats import averaged
from gate.samples.scores import FloatArray, Range, Unit, paired_scores, refuse_infinite_divergences
from gate.samples.selection import counted

_SAME_PROMPTS = (
    "Evaluate both with the same prompts. If the chat templates differ, set candidate.tokenizer: baseline in gate.yml, "
    "or give both models the same tokenizer_config.json and chat_template.jinja."
)


@dataclass(frozen=True)
class PairedTask:
    """One paired task: row i of both tables is the same item.

    Attributes
    ----------
    baseline, candidate : pyarrow.Table
        n rows each, in `SAMPLE_SCHEMA`, one row per item.
    binary : bool
        Whether every score is 0 or 1.
    clusters : int64 array of shape (n,) or None
        Items with equal numbers belong to the same cluster. None: items are independent.
    left_out : int
        Samples that only one side has (`--allow-partial`).
    unit : {'proportion', 'score'}
        proportion: scores lie in [0, 1]. score: the task's own unit, of unknown range.
    prompts : int64 array of shape (n,) or None
        Equal numbers for items with equal prompts, also in other tasks; see `gate.samples.duplicates`.
    names : int64 array of shape (n,) or None
        Equal numbers for items in clusters of one name, where it occurs in several tasks; see `gate.samples.clusters`.
    shared : int64 array of shape (n,) or None
        Number of the item's cluster where it has items in other tasks too, else -1. None: all clusters are the task's
        own.
    repeats : int
        Answers per item: the scores are their means.
    is_kl_sample : bool
        Whether the baseline stores distributions of a random sample of the items only.
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
    unit: Unit = "proportion"
    prompts: npt.NDArray[np.int64] | None = None
    names: npt.NDArray[np.int64] | None = None
    shared: npt.NDArray[np.int64] | None = None
    repeats: int = 1
    is_kl_sample: bool = False

    @property
    def n(self) -> int:
        """Number of paired items."""
        return len(self.baseline_score)

    @property
    def answers(self) -> tuple[FloatArray, FloatArray]:
        """What flips are counted from: the scores, or for smoothed accuracy whether the right choice was picked."""
        if self.metric not in BASES:
            return self.baseline_score, self.candidate_score
        right = (table.column("correct").to_numpy(zero_copy_only=False) for table in (self.baseline, self.candidate))
        before, after = (column.astype(np.float64) for column in right)
        return before, after

    @property
    def regressions(self) -> int:
        """Number of items whose score decreased."""
        before, after = self.answers
        return int(np.count_nonzero(after < before))

    @property
    def improvements(self) -> int:
        """Number of items whose score increased."""
        before, after = self.answers
        return int(np.count_nonzero(after > before))

    @cached_property
    def positions(self) -> MeasuredPositions | None:
        """The measured positions of the candidate's answers; None if KL divergence was not measured."""
        if not self.is_kl_sample:
            return measured_positions(self.candidate)
        stored = self.baseline.column("tail_mass").is_valid().to_numpy(zero_copy_only=False)
        return measured_positions(self.candidate, stored)

    @property
    def changed_answers(self) -> int:
        """Number of items whose score changed, or that changed from one wrong answer to another."""
        before, after = self.answers
        changed = after != before
        both_wrong = (after == before) & (before < 1.0)
        a, b = self.baseline.column("output"), self.candidate.column("output")
        differs = pc.fill_null(pc.not_equal(a, b), False).to_numpy(zero_copy_only=False)
        return int(np.count_nonzero(changed | (both_wrong & differs)))


@dataclass(frozen=True)
class Pairing:
    """All paired tasks, in the baseline's order, and notes for the user."""

    tasks: tuple[PairedTask, ...]
    notes: tuple[str, ...] = ()


def pair(
    baseline: ModelSamples,
    candidate: ModelSamples,
    tasks: Sequence[str] | None = None,
    allow_partial: bool = False,
    allow_stopped: bool = False,
    scales: Mapping[str, Range] | None = None,
) -> Pairing:
    """Pair the samples of two models.

    Parameters
    ----------
    tasks : sequence of str, optional
        Pair only these tasks. Default: all.
    allow_partial : bool
        Pair what both sides have instead of raising; the notes say what is left out.
    allow_stopped : bool
        Accept a candidate that was stopped early. Only valid if the decision accounts for the stopping rule.
    scales : mapping of str to (low, high), optional
        Range of the scores by task name; they become proportions of it. Without it, scores in [0, 1] are proportions,
        and others are in a unit of unknown range.

    Raises
    ------
    SampleError
        Only one side has a task or an item, an item is duplicated, prompts, targets, clusters, metrics or other facets
        differ, a score is not finite or outside of its range, or the two sides have different scales.
    """
    names = list(tasks) if tasks is not None else list(dict.fromkeys([*baseline.tasks, *candidate.tasks]))
    common = [name for name in names if name in baseline.tasks and name in candidate.tasks]
    notes = [*baseline.notes, *candidate.notes]
    if len(common) < len(names):
        missing = [
            f"{name} (not in {'the baseline' if name not in baseline.tasks else 'the candidate'})"
            for name in names
            if name not in common
        ]
        message = f"{len(missing)} task(s) are on one side only: {', '.join(missing[:5])}"
        if not allow_partial or not common:
            raise SampleError(f"{message}.", "Evaluate both models on the same tasks, or pass --allow-partial.")
        notes.append(f"{message}; they are left out.")
    paired = []
    for name in common:
        a, b = baseline.tasks[name], candidate.tasks[name]
        aligned, note = _align(a, b, allow_partial, allow_stopped)
        aligned, curated = counted(a, aligned)
        kl_from_baseline = b.reference is not None and b.reference == baseline.about.get("fingerprint")
        paired.append(_pair_task(a, aligned, kl_from_baseline, (scales or {}).get(name)))
        notes += [*note, *curated]
    paired, dependence = numbered(paired)
    notes += dependence
    return Pairing(tuple(paired), tuple(dict.fromkeys(notes)))


def _align(
    baseline: TaskSamples, candidate: TaskSamples, allow_partial: bool, allow_stopped: bool
) -> tuple[Alignment, list[str]]:
    """Align the rows of a task; raise, or return a note, if samples are left out."""
    task = baseline.task
    _require_equal_facets(baseline, candidate)
    for side, samples in (("baseline", baseline), ("candidate", candidate)):
        if samples.table.num_rows == 0:
            raise SampleError(f"task {task}: the {side} has no samples.", "Evaluate it again, or leave the task out.")
    aligned = align(task, baseline.table, candidate.table)
    if not aligned.left_out:
        return aligned, []
    sides = (("baseline", aligned.only_baseline), ("candidate", aligned.only_candidate))
    listed = [f"{len(keys)} item(s) only in the {side} ({first_names(keys)})" for side, keys in sides if keys]
    message = f"task {task}: {' and '.join(listed)}."
    # items after the stopping point are missing on purpose; any other missing item is an error
    items = pc.count_distinct(baseline.table.column("item_id")).as_py()
    stopped = allow_stopped and candidate.stopped_of == items and not aligned.only_candidate
    if not (allow_partial or stopped) or aligned.baseline.num_rows == 0:
        way = differing_names(aligned.only_baseline, aligned.only_candidate)
        if way is not None:
            raise SampleError(f"{message} They differ only in {way}.", "Write the item ids of both sides alike.")
        raise SampleError(message, "Evaluate both on the same items, or pass --allow-partial.")
    if not stopped:
        return aligned, [f"{message} They are left out."]
    evaluated = pc.count_distinct(candidate.table.column("item_id")).as_py()
    return aligned, [f"task {task}: stopped early after {evaluated:,} of {items:,} items."]


def _pair_task(
    samples: TaskSamples, aligned: Alignment, kl_from_baseline: bool, scale: Range | None = None
) -> PairedTask:
    task, a, b = samples.task, aligned.baseline, aligned.candidate
    unjudged = (pc.all(pc.is_nan(table.column("score"))).as_py() for table in (a, b))
    if samples.metric.startswith("judge_") and all(unjudged):
        raise SampleError(f"task {task}: its texts were not judged.", "Use gate compare --config with its gate.yml.")
    if not kl_from_baseline:  # the divergence was measured from another model
        for name in ("kl", "same_top", "kl_variance", "later_kl"):
            index = b.schema.get_field_index(name)
            field = b.schema.field(index)
            b = b.set_column(index, field, pa.nulls(len(b), field.type))
    _require_equal_column(task, a, b, "prompt_hash", "prompts", _SAME_PROMPTS)
    _require_equal_column(task, a, b, "target", "targets", "Score both against the same targets.")
    refuse_infinite_divergences(task, b)
    (a, repeats), (b, _) = averaged(a), averaged(b)
    if scale is not None and samples.metric.startswith("-"):  # lower is better: the reader changed the signs
        scale = (-scale[1], -scale[0])
    score_a, score_b, unit = paired_scores(task, a, b, scale)
    binary = all(bool(np.isin(score, (0.0, 1.0)).all()) for score in (score_a, score_b))
    clusters = cluster_numbers(task, a, b)
    left_out = aligned.left_out
    return PairedTask(
        task,
        samples.metric,
        a,
        b,
        score_a,
        score_b,
        binary,
        clusters,
        left_out,
        unit,
        repeats=repeats,
        is_kl_sample=samples.is_kl_sample,
    )


def _require_equal_facets(baseline: TaskSamples, candidate: TaskSamples) -> None:
    facets_a = {**baseline.facets, "metric": baseline.metric}
    facets_b = {**candidate.facets, "metric": candidate.metric}
    differences = [
        f"{key}: {_shorten(facets_a[key])} against {_shorten(facets_b[key])}"
        for key in facets_a
        if key in facets_b and facets_a[key] != facets_b[key]
    ]
    if differences:
        raise SampleError(
            f"task {baseline.task}: baseline and candidate have different prompts or scoring: "
            f"{'; '.join(differences)}.",
            "Evaluate both with the same task settings.",
        )


def _require_equal_column(task: str, a: pa.Table, b: pa.Table, column: str, label: str, hint: str) -> None:
    differs = pc.fill_null(pc.not_equal(a.column(column), b.column(column)), False)
    count = pc.sum(differs).as_py() or 0
    if count:
        items = a.column("item_id").filter(differs)[:4].to_pylist()
        index = pc.index(differs, True).as_py()
        in_a, in_b = (table.column(column)[index].as_py() for table in (a, b))
        example = f"{_shorten(in_a)} in the baseline, {_shorten(in_b)} in the candidate"
        if column == "prompt_hash":
            prompts = [table.column("prompt")[index].as_py() for table in (a, b)]
            example = _unequal_prompts(*prompts) or example
        raise SampleError(
            f"task {task}: {count} of {len(a)} items have different {label}: {first_names(items)} "
            f"(e.g. {items[0][:16]}: {example}).",
            hint,
        )


def _unequal_prompts(baseline: str | None, candidate: str | None) -> str | None:
    """Return where the prompts of an item begin to differ; None if they were not recorded."""
    if baseline is None or candidate is None:
        return None
    if baseline != candidate:
        return where_texts_part(baseline, candidate)
    return (
        "the question is the same, so the few-shot examples, the system message or the chat template differ, or the "
        "template writes the date and the two ran on different days"
    )


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
