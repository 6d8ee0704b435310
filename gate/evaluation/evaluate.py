"""Evaluate a task with an engine, one data file at a time, so that an interrupted run loses little work."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from gate.canonical import digest
from gate.engines import Engine, ModelIdentity, Progress
from gate.errors import EvaluationError, SampleError
from gate.evaluation.answer import TOP_TOKENS, answer_items
from gate.evaluation.plan import SCORING_METHOD, Plan
from gate.evaluation.references import StoredDistributions
from gate.evaluation.resume import PartialSet
from gate.store import SampleSet, open_set
from gate.store.lock import one_writer
from gate.tasks import Item, Task

Steps = Generator[pa.Table, bool | None, SampleSet]
"""Yields the rows of each data file once they are on disk, resumed ones included; returns the set."""


def evaluation(
    task: Task,
    engine: Engine,
    identity: ModelIdentity,
    folder: Path,
    progress: Progress,
    baseline: SampleSet | None = None,
    *,
    shard: tuple[int, int] | None = None,
    groups: Sequence[Sequence[Item]] | None = None,
    top_tokens: int | Literal["whole"] = TOP_TOKENS,
    say: Callable[[str], None] = lambda _: None,
    since: str | None = None,
) -> Steps:
    """Evaluate a task and write the answers as a sample set.

    An earlier evaluation with the same settings that was interrupted is resumed: its finished data files are kept.
    `send(True)` ends the evaluation early, with the data files finished so far as the set. Closing the generator keeps
    them for the next call.

    Parameters
    ----------
    task : Task
    engine : Engine
    identity : ModelIdentity
        Identity of the engine's model.
    folder : Path
        Folder of the set. An older set there is replaced atomically at the end.
    progress : callable
        Called with the number of items finished since the last call; first with the number of resumed items.
    baseline : SampleSet, optional
        Set whose stored distributions KL divergence is measured from. Default: store the distributions.
    shard : (index, of), optional
        Evaluate only the items index, index + of, ... (counted from 1); `gate merge` joins the shards.
    groups : sequence of sequences of Item, optional
        The items of each data file. Default: all items in the task's order.
    top_tokens : int or "whole"
        Tokens to store of each distribution.
    say : callable
        Receives messages about what is resumed and what is not.
    since : str, optional
        Reuse a complete set with the same settings that was created at this time (ISO 8601) or later.

    Raises
    ------
    EvaluationError
        NaN log-likelihoods, out of memory, no space left, or another process is writing the set. Finished data files
        are kept.
    SampleError
        `folder` holds something other than a sample set.
    """
    plan = Plan.of(task, identity, baseline, shard, groups, top_tokens)
    settings = plan.settings(engine.runtime)
    complete = None if since is None else _complete_since(folder, digest(settings), since)
    if complete is not None:
        say(f"{folder.name}: already complete, from the interrupted run")
        progress(complete.manifest.items)
        yield from complete.tables()
        return complete
    with one_writer(folder, say), PartialSet(folder, settings, plan.sizes, say) as partial:
        progress(partial.items)
        references = None if baseline is None or not partial.missing else StoredDistributions(baseline.read())

        def answer(index: int) -> pa.Table:
            started = time.monotonic()
            try:
                table = answer_items(task, plan.groups[index], engine, progress, references, top_tokens)
            except EvaluationError as error:  # an engine does not know the task
                raise EvaluationError(f"task {task.name}: {error.message}", error.hint) from error
            _check_rows(task, plan.groups[index], table)
            method = engine.runtime.versions.get(SCORING_METHOD, "")
            partial.add(index, table, time.monotonic() - started, method)
            return table

        if partial.finished and partial.missing:
            # the first answers show the scoring method, which decides whether the resumed files can be kept
            answer(partial.missing[0])
            partial.drop_other_methods(engine.runtime.versions.get(SCORING_METHOD, ""))
        count = len(plan.groups)
        for index in range(len(plan.groups)):
            stop = yield answer(index) if index in partial.missing else partial.read(index)
            if stop:
                count = index + 1
                break
        return partial.finish(plan.manifest(engine.runtime, partial.finished[:count]))


def finish(steps: Steps) -> SampleSet:
    """Run the rest of an evaluation and return its set."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            sample_set: SampleSet = end.value
            return sample_set


def _complete_since(folder: Path, settings: str, since: str) -> SampleSet | None:
    """Return the complete set in a folder if it has these settings and is not older."""
    try:
        sample_set = open_set(folder)
    except SampleError:
        return None
    manifest = sample_set.manifest
    reusable = manifest.settings == settings and manifest.created >= since and manifest.stopped_of is None
    return sample_set if reusable else None


def _check_rows(task: Task, items: Sequence[Item], table: pa.Table) -> None:
    """Raise an EvaluationError unless the rows are those of the items, equally many for each."""
    counts = pc.value_counts(table.column("item_id").combine_chunks()).to_pylist()
    rows = {entry["values"]: entry["counts"] for entry in counts}
    if rows.keys() != {item.item_id for item in items} or len(set(rows.values())) > 1:
        raise EvaluationError(
            f"task {task.name}: the engine's answers do not match the {len(items)} items of a data file.",
            "This is a bug in quantgate or in the engine; please report it.",
        )
