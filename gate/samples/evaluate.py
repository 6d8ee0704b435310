"""Putting a task to an engine and keeping every answer."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gate import __version__
from gate.engines import (
    Distribution,
    Engine,
    GenerateRequest,
    LoglikelihoodAnswer,
    LoglikelihoodRequest,
    ModelIdentity,
    Progress,
)
from gate.errors import EvaluationError
from gate.samples.manifest import Manifest, ModelRecord, Timings
from gate.samples.record import SAMPLE_SCHEMA, SCHEMA_VERSION, TaskSamples
from gate.samples.store import SampleSet, SetWriter
from gate.tasks import Item, Task, exact_match, pick_choice, text_digest

TOP_TOKENS = 128
"""Tokens of the baseline's distribution that are kept: 6 bytes each, 768 an item before compression."""
SHARD_ITEMS = 2048
"""Items a shard: enough for well-filled batches, few enough to lose little."""


def evaluate(
    task: Task,
    engine: Engine,
    identity: ModelIdentity,
    folder: Path,
    progress: Progress,
    baseline: SampleSet | None = None,
) -> SampleSet:
    """Answer every item of a task and write the answers as a sample set.

    Parameters
    ----------
    task : Task
    engine : Engine
    identity : ModelIdentity
        Of the model in the engine.
    folder : Path
        The set's folder; an older set there is replaced at the end, in one step.
    progress : callable
        Told of answered items.
    baseline : SampleSet, optional
        Set whose stored distributions the answers' are compared with (KL divergence). Without it the
        distributions themselves are stored.

    Raises
    ------
    EvaluationError
        NaN log-likelihoods, out of memory, no space left. Nothing partial remains.
    """
    started = time.monotonic()
    tokens = [0, 0]
    references = None if baseline is None else _references(baseline.read())
    with SetWriter(folder) as writer:
        for start in range(0, len(task.items), SHARD_ITEMS):
            try:
                table = _answer(task, task.items[start : start + SHARD_ITEMS], engine, progress, references)
            except EvaluationError as error:  # engines do not know what they are asked for
                raise EvaluationError(f"task {task.name}: {error.message}", error.hint) from error
            for place, name in enumerate(("tokens_in", "tokens_out")):
                tokens[place] += sum(table.column(name).to_pylist())
            writer.add(table)
        seconds = time.monotonic() - started
        runtime = engine.runtime
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            task=task.name,
            metric=task.metric,
            items=len(task.items),
            rows=len(task.items),
            shards=writer.shards,
            task_fingerprint=task.fingerprint,
            facets=dict(task.facets),
            model=ModelRecord(
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
                versions=runtime.versions,
            ),
            reference=None if baseline is None else baseline.manifest.model.fingerprint,
            timings=Timings(
                seconds=seconds,
                items_per_second=len(task.items) / max(seconds, 1e-9),
                tokens_in=tokens[0],
                tokens_out=tokens[1],
            ),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            quantgate=__version__,
        )
        return writer.finish(manifest)


References = Mapping[str, Distribution]


def _references(baseline: TaskSamples) -> References:
    """Return the baseline's stored distributions by item; empty where it has none."""
    columns = ("item_id", "top_tokens", "top_logprobs", "tail_mass")
    rows = baseline.table.select(columns).filter(pc.is_valid(baseline.table.column("tail_mass"))).to_pylist()
    return {
        row["item_id"]: Distribution(
            tuple(row["top_tokens"]), tuple(map(float, row["top_logprobs"])), row["tail_mass"]
        )
        for row in rows
    }


def _answer(
    task: Task, items: Sequence[Item], engine: Engine, progress: Progress, references: References | None
) -> pa.Table:
    contexts = [engine.render_chat(item.messages) if item.messages else item.context for item in items]
    rows = (_choose if task.settings.kind == "multiple_choice" else _generate)(
        task, items, contexts, engine, progress, references
    )
    shared = [
        {
            "task": task.name,
            "item_id": item.item_id,
            "repeat": 0,
            "prompt_hash": text_digest(context),
            "metric": task.metric,
            "target": item.target,
            "cluster": item.cluster,
            "prompt": item.question,
            "choices": list(item.choices) or None,
        }
        for item, context in zip(items, contexts, strict=True)
    ]
    return pa.Table.from_pylist([a | b for a, b in zip(shared, rows, strict=True)], schema=SAMPLE_SCHEMA)


def _choose(
    task: Task,
    items: Sequence[Item],
    contexts: Sequence[str],
    engine: Engine,
    progress: Progress,
    references: References | None,
) -> list[dict[str, object]]:
    requests = [
        LoglikelihoodRequest(
            context,
            tuple(task.delimiter + choice for choice in item.choices),
            top=TOP_TOKENS if references is None else 0,
            reference=None if references is None else references.get(item.item_id),
        )
        for item, context in zip(items, contexts, strict=True)
    ]
    rows: list[dict[str, object]] = []
    for item, answer in zip(items, engine.loglikelihood(requests, progress), strict=True):
        _refuse_nan(item, answer.loglikelihoods)
        choice = pick_choice(answer.loglikelihoods, item.choices, task.metric)
        rows.append(
            {
                "score": float(choice == item.gold),
                "correct": choice == item.gold,
                "output": str(choice),
                "choice_logprobs": list(answer.loglikelihoods),
                "tokens_in": answer.tokens_in,
                "tokens_out": answer.tokens_out,
                **_distribution_columns(answer),
            }
        )
    return rows


def _distribution_columns(answer: LoglikelihoodAnswer) -> dict[str, object]:
    stored, divergence = answer.distribution, answer.divergence
    columns: dict[str, object] = {}
    if stored is not None:
        columns["top_tokens"] = list(stored.tokens)
        columns["top_logprobs"] = [np.float16(value) for value in stored.logprobs]
        columns["tail_mass"] = stored.tail
    if divergence is not None:
        columns["kl"] = divergence.kl
        columns["same_top"] = divergence.same_top
    return columns


def _generate(
    task: Task,
    items: Sequence[Item],
    contexts: Sequence[str],
    engine: Engine,
    progress: Progress,
    _: References | None,
) -> list[dict[str, object]]:
    settings = task.settings
    requests = [GenerateRequest(context, tuple(settings.stop), settings.max_tokens) for context in contexts]
    rows: list[dict[str, object]] = []
    for item, answer in zip(items, engine.generate_until(requests, progress), strict=True):
        correct = exact_match(answer.text, item.answers, settings.extract, settings.normalise)
        rows.append(
            {
                "score": float(correct),
                "correct": correct,
                "output": answer.text,
                "tokens_in": answer.tokens_in,
                "tokens_out": answer.tokens_out,
            }
        )
    return rows


def _refuse_nan(item: Item, loglikelihoods: Sequence[float]) -> None:
    if any(math.isnan(value) for value in loglikelihoods) or not any(map(math.isfinite, loglikelihoods)):
        raise EvaluationError(
            f"the model's log-likelihoods of item {item.item_id[:12]} "
            f"({item.question.strip()[:60]!r}) are not numbers: {', '.join(f'{v:g}' for v in loglikelihoods)}.",
            "The weights are broken or overflow in this dtype (try bfloat16 or float32); no verdict is possible.",
        )
