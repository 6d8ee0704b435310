"""Putting a task to an engine and keeping every answer, data file by data file, so that a killed run loses little."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from gate import __version__
from gate.canonical import canonical_json, digest
from gate.engines import Engine, ModelIdentity, Progress, Runtime
from gate.errors import EvaluationError, SampleError
from gate.evaluation.answer import TOP_TOKENS, answer_items, stored_references
from gate.evaluation.resume import Finished, PartialSet
from gate.samples.record import SCHEMA_VERSION
from gate.store.local import SampleSet, open_set, read_data_file
from gate.store.lock import one_writer
from gate.store.manifest import Manifest, ModelRecord, Shard, Timings
from gate.tasks import Item, Task

ITEMS_PER_DATA_FILE = 512
"""Items a data file: enough for well-filled batches, few enough that a kill loses a minute or so."""
_TOKENS_PER_DATA_FILE = 131_072
_FEWEST_ANSWERS = 128
_WHOLE_ITEMS = 64  # a whole distribution takes 100 KB and more
_LEARNT = "scoring"
"""Entry among the versions that an engine knows only once it has scored: how it does."""


Steps = Generator[pa.Table, bool | None, SampleSet]
"""Yields each data file's rows when they are on the disk, those of an earlier call included; returns the set."""


def evaluate(
    task: Task,
    engine: Engine,
    identity: ModelIdentity,
    folder: Path,
    progress: Progress,
    baseline: SampleSet | None = None,
    *,
    shard: tuple[int, int] | None = None,
    top_tokens: int | Literal["whole"] = TOP_TOKENS,
    say: Callable[[str], None] = lambda _: None,
) -> SampleSet:
    """Answer every item of a task and write the answers as a sample set.

    Where an earlier call of the same settings was stopped, by whatever it was, its finished data files are kept and only
    the others are made.

    Parameters
    ----------
    task : Task
    engine : Engine
    identity : ModelIdentity
        Of the model in the engine.
    folder : Path
        The set's folder; an older set there is replaced at the end, in one step.
    progress : callable
        Told of answered items; at once of those that an earlier call had answered.
    baseline : SampleSet, optional
        Set whose stored distributions the answers' are compared with (KL divergence). Without it the
        distributions themselves are stored.
    shard : (index, of), optional
        Answer items index, index + of, ... (counted from 1) only; `gate merge` puts the shards together.
    top_tokens : int or "whole"
        Tokens of each distribution that are stored.
    say : callable
        Told what is continued and what is not.

    Raises
    ------
    EvaluationError
        NaN log-likelihoods, out of memory, no space left, another process writes this set. Finished data files are kept.
    SampleError
        `folder` holds something else than a sample set.
    """
    return finish(
        evaluation(
            task, engine, identity, folder, progress, baseline, shard=shard, top_tokens=top_tokens, say=say
        )
    )


def finish(steps: Steps) -> SampleSet:
    """Go through the rest of an evaluation and return its set."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            found: SampleSet = done.value
            return found


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
    """Do what `evaluate` does, data file by data file: `send(True)` ends the set with the data files that are done.

    Parameters
    ----------
    groups : sequence of sequences of Item, optional
        All items of the task in another order and cut; default: in the task's order.
    since : str, optional
        Take a whole set of the same settings that was made at this time (ISO 8601) or later for this one's work.

    Other parameters, errors: see `evaluate`. Closing the generator early keeps the finished data files for the next call.
    """
    size = items_per_data_file(task)
    if top_tokens == "whole" and baseline is None and task.measures_kl:
        size = min(size, _WHOLE_ITEMS)
    items = task.items if shard is None else task.items[shard[0] - 1 :: shard[1]]
    plan = [items[start : start + size] for start in range(0, len(items), size)]
    if groups is not None:
        plan = [tuple(group) for group in groups]
        items = tuple(item for group in plan for item in group)
    settings = _settings(task, plan, identity, engine.runtime, baseline, shard, top_tokens)
    made = None if since is None else _made_since(folder, digest(settings), since)
    if made is not None:
        say(f"{folder.name}: was finished before the run was stopped")
        progress(made.manifest.items)
        for data_file in made.manifest.data_files:
            yield read_data_file(folder / data_file.file, data_file)
        return made
    with (
        one_writer(folder, say),
        PartialSet(folder, settings, [len(group) for group in plan], say) as partial,
    ):
        progress(partial.items)
        references = None if baseline is None or not partial.missing else stored_references(baseline.read())

        def answer(index: int) -> pa.Table:
            started = time.monotonic()
            try:
                table = answer_items(task, plan[index], engine, progress, references, top_tokens)
            except EvaluationError as error:  # engines do not know what they are asked for
                raise EvaluationError(f"task {task.name}: {error.message}", error.hint) from error
            _check(task, plan[index], table)
            partial.add(index, table, time.monotonic() - started, engine.runtime.versions.get(_LEARNT, ""))
            return table

        if partial.finished and partial.missing:
            # how the engine scores shows with its first answers, and decides whether the earlier ones can stay
            answer(partial.missing[0])
            partial.drop_other_methods(engine.runtime.versions.get(_LEARNT, ""))
        done = len(plan)
        for index in range(len(plan)):
            stop = yield answer(index) if index in partial.missing else partial.read(index)
            if stop:
                done = index + 1
                break
        finished = partial.finished[:done]
        answered = sum(one.items for one in finished)
        seconds = sum(one.seconds for one in finished)
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            task=task.name,
            metric=task.metric,
            items=answered,
            rows=sum(one.data_file.rows for one in finished),
            data_files=[one.data_file for one in finished],
            task_fingerprint=task.fingerprint,
            facets=dict(task.facets),
            model=_model_record(task, identity, engine.runtime, finished),
            reference=None if baseline is None else baseline.manifest.model.fingerprint,
            timings=Timings(
                seconds=seconds,
                items_per_second=answered / max(seconds, 1e-9),
                tokens_in=sum(one.tokens_in for one in finished),
                tokens_out=sum(one.tokens_out for one in finished),
            ),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            quantgate=__version__,
            shard=None
            if shard is None
            else Shard(index=shard[0], of=shard[1], items=len(task.items), items_per_data_file=size),
            top_tokens=top_tokens if baseline is None and task.measures_kl else 0,
            settings=digest(settings),
            stopped_of=len(items) if answered < len(items) else None,
        )
        return partial.finish(manifest)


def _made_since(folder: Path, settings: str, since: str) -> SampleSet | None:
    """Return the whole set in a folder if it has these settings and is not older."""
    try:
        found = open_set(folder)
    except SampleError:
        return None
    manifest = found.manifest
    fits = manifest.settings == settings and manifest.created >= since and manifest.stopped_of is None
    return found if fits else None


def items_per_data_file(task: Task) -> int:
    """Return how many items a data file of the task has: fewer where each may take a long text."""
    if not task.generates:
        return ITEMS_PER_DATA_FILE
    answers = max(_FEWEST_ANSWERS, _TOKENS_PER_DATA_FILE // max(task.max_tokens, 1))
    return max(1, min(ITEMS_PER_DATA_FILE, answers // task.repeats))


def _settings(
    task: Task,
    plan: Sequence[Sequence[Item]],
    identity: ModelIdentity,
    runtime: Runtime,
    baseline: SampleSet | None,
    shard: tuple[int, int] | None,
    top_tokens: int | Literal["whole"],
) -> dict[str, str]:
    """Name everything that the rows depend on: data files are only continued where all of it is the same."""
    found = dataclasses.asdict(runtime)
    del found["versions"]
    found["device"] = runtime.device.partition(":")[0]  # which of several equal GPUs does not matter
    return {
        "model": identity.fingerprint,
        "task": task.fingerprint,
        "items": digest([[item.item_id for item in group] for group in plan]),
        "items a data file": str(max(map(len, plan), default=0)),
        "shard": "whole" if shard is None else f"{shard[0]}/{shard[1]}",
        # the distributions are those of one evaluation, not of one model
        "baseline": "none"
        if baseline is None
        else digest([data_file.sha256 for data_file in baseline.manifest.data_files]),
        "top tokens": str(top_tokens),
        "quantgate": __version__,
        **{name: value if isinstance(value, str) else canonical_json(value) for name, value in found.items()},
        **_libraries(runtime),
    }


def _libraries(runtime: Runtime) -> dict[str, str]:
    return {name: version for name, version in runtime.versions.items() if name != _LEARNT}


def _check(task: Task, items: Sequence[Item], table: pa.Table) -> None:
    """Refuse rows that are not exactly those of the items that were asked for."""
    counts = pc.value_counts(table.column("item_id").combine_chunks()).to_pylist()
    rows = {entry["values"]: entry["counts"] for entry in counts}
    if rows.keys() != {item.item_id for item in items} or len(set(rows.values())) > 1:
        raise EvaluationError(
            f"task {task.name}: the engine's answers are not one for each of the {len(items)} items of a data file.",
            "This is a bug in quantgate or in the engine; please report it.",
        )


def _model_record(
    task: Task, identity: ModelIdentity, runtime: Runtime, finished: Sequence[Finished]
) -> ModelRecord:
    versions = _libraries(runtime)
    if not task.generates and finished and finished[-1].method:
        versions[_LEARNT] = finished[-1].method
    return ModelRecord(
        name=identity.name,
        revision=identity.revision,
        weights=identity.weights,
        tokenizer=identity.tokenizer,
        dtype=identity.dtype,
        engine=identity.engine,
        fingerprint=identity.fingerprint,
        device=runtime.device,
        hardware=runtime.hardware,
        loaded_dtype=runtime.dtype,
        loaded_tokenizer=runtime.tokenizer,
        end_tokens=list(runtime.end_tokens),
        versions=versions,
    )
