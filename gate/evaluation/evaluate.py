"""Evaluate a task with an engine, one data file at a time, so that an interrupted run loses little work."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from gate.common.canonical import digest
from gate.engines import Engine, ModelIdentity, Progress
from gate.errors import ConfigError, EvaluationError, SampleError
from gate.evaluation.answer import answer_items
from gate.evaluation.plan import SCORING_METHOD, Plan
from gate.evaluation.recording import DEFAULT, UNMEASURED_HINT, Recording
from gate.evaluation.references import StoredDistributions
from gate.evaluation.resume import PartialSet
from gate.store import SampleSet, open_set
from gate.store.lock import one_writer
from gate.store.manifest import MANIFEST
from gate.store.trust import SIGNATURE, Role, WorkSeal
from gate.tasks import Item, Task

Steps = Generator[pa.Table, bool | None, SampleSet]
"""Yields the rows of each data file once they are on disk, resumed ones included; returns the set."""


@dataclass(frozen=True)
class TaskEvaluation:
    """One task for one loaded model, and the folder of its sample set.

    Attributes
    ----------
    folder : Path
        Folder of the set. An older set there is replaced atomically at the end.
    reference : SampleSet or None
        Set of the baseline whose stored distributions KL divergence is measured from. None: store the distributions.
    shard : (index, of) or None
        Evaluate only the items index, index + of, ... (counted from 1); `gate merge` joins the shards.
    recording : Recording
        What to store of the distributions.
    message : callable
        Receives messages about what is resumed and what is not.
    since : str or None
        Reuse a complete set with the same settings that this machine created at this time (ISO 8601) or later.
    role : {"candidate", "baseline"}
        See `PartialSet`.
    limited : bool
        Whether a limit needs the KL divergence of every item: an evaluation without it ends after its first data file.
    """

    task: Task
    engine: Engine
    identity: ModelIdentity
    folder: Path
    reference: SampleSet | None = None
    shard: tuple[int, int] | None = None
    recording: Recording = DEFAULT
    message: Callable[[str], None] = lambda _: None
    since: str | None = None
    role: Role = "candidate"
    limited: bool = False

    @property
    def items(self) -> int:
        """Number of items to evaluate."""
        count = len(self.task.items)
        return count if self.shard is None else len(range(self.shard[0] - 1, count, self.shard[1]))

    def run(self, progress: Progress, groups: Sequence[Sequence[Item]] | None = None) -> SampleSet:
        """Evaluate all items and return the set; see `steps`."""
        steps = self.steps(progress, groups)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                sample_set: SampleSet = end.value
                return sample_set

    def steps(self, progress: Progress, groups: Sequence[Sequence[Item]] | None = None) -> Steps:
        """Evaluate one data file at a time.

        An earlier evaluation with the same settings that was interrupted is resumed: its finished data files are kept.
        `send(True)` ends the evaluation early, with the data files finished so far as the set. Closing the generator
        keeps them for the next call.

        Parameters
        ----------
        progress : callable
            Called with the number of items finished since the last call; first with the number of resumed items.
        groups : sequence of sequences of Item, optional
            The items of each data file. Default: all items in the task's order.

        Raises
        ------
        EvaluationError
            NaN log-likelihoods, out of memory, no space left, or another process is writing the set. Finished data
            files are kept.
        SampleError
            `folder` holds something other than a sample set.
        """
        plan = Plan.of(self.task, self.identity, self.reference, self.shard, groups, self.recording)
        settings = plan.settings(self.engine.runtime)
        complete = None if self.since is None else _complete_since(self.folder, digest(settings), self.since)
        if complete is not None:
            self.message(f"{self.folder.name}: already complete, from the interrupted run")
            progress(complete.manifest.items)
            yield from complete.tables()
            return complete
        with (
            one_writer(self.folder, self.message),
            PartialSet(self.folder, settings, plan.sizes, self.message, self.role) as partial,
        ):
            progress(partial.items)
            references = None
            sampled = self.reference is not None and self.reference.manifest.texts is not None
            if self.reference is not None and partial.missing:
                references = StoredDistributions(self.reference.read())

            def answer(index: int) -> pa.Table:
                started = time.monotonic()
                items = plan.groups[index]
                try:
                    table = answer_items(self.task, items, self.engine, progress, references, self.recording)
                except EvaluationError as error:  # an engine does not know the task
                    raise EvaluationError(f"task {self.task.name}: {error.message}", error.hint) from error
                _check_rows(self.task, items, table)
                if self.limited:
                    _check_divergences(self.task, table, references if sampled else None)
                partial.add(index, table, time.monotonic() - started, self._scoring_method)
                return table

            if partial.finished and partial.missing:
                # the first answers show the scoring method, which decides whether the resumed files can be kept
                answer(partial.missing[0])
                partial.drop_other_methods(self._scoring_method)
            count = 0
            while count < len(plan.groups):
                stop = yield answer(count) if count in partial.missing else partial.read(count)
                count += 1
                if stop:
                    break
            return partial.finish(plan.manifest(self.engine.runtime, partial.finished[:count]))

    @property
    def _scoring_method(self) -> str:
        return self.engine.runtime.versions.get(SCORING_METHOD, "")


def _complete_since(folder: Path, settings: str, since: str) -> SampleSet | None:
    """Return the complete set in a folder if it has these settings and is not older."""
    try:
        sample_set = open_set(folder)
    except SampleError:
        return None
    manifest = sample_set.manifest
    reusable = manifest.settings == settings and manifest.created >= since and manifest.stopped_of is None
    return sample_set if reusable and _is_own(folder) else None


def _is_own(folder: Path) -> bool:
    """Return whether the candidate's set in a folder is signed: written on this machine, not planted."""
    try:
        content, signature = (folder / MANIFEST).read_bytes(), (folder / SIGNATURE).read_text(errors="replace")
    except OSError:
        return False
    return WorkSeal("candidate").accepts(folder, content, signature)


def _check_divergences(task: Task, table: pa.Table, sample: StoredDistributions | None) -> None:
    """Raise a ConfigError unless every item has a KL divergence, or every item of a sample; on its first repeat."""
    first = table.filter(pc.equal(table.column("repeat"), 0))
    if sample is not None:
        first = first.filter(pc.is_in(first.column("item_id"), pa.array(list(sample), pa.string())))
    unmeasured = first.column("kl").null_count
    if unmeasured:
        raise ConfigError(
            f"max_kl is set for task {task.name}, but KL divergence was not measured on {unmeasured} of its first "
            f"{len(first)} items.",
            UNMEASURED_HINT,
        )


def _check_rows(task: Task, items: Sequence[Item], table: pa.Table) -> None:
    """Raise an EvaluationError unless the rows are those of the items, equally many for each."""
    counts = pc.value_counts(table.column("item_id").combine_chunks()).to_pylist()
    rows = {entry["values"]: entry["counts"] for entry in counts}
    if rows.keys() != {item.item_id for item in items} or len(set(rows.values())) > 1:
        raise EvaluationError(
            f"task {task.name}: the engine's answers do not match the {len(items)} items of a data file.",
            "This is a bug in quantgate or in the engine; please report it.",
        )
