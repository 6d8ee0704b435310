"""From the items of a task to rows: what an engine is asked, and how its answers are scored and kept."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gate.canonical import text_digest
from gate.engines import (
    Distribution,
    Engine,
    GenerateAnswer,
    GenerateRequest,
    LoglikelihoodAnswer,
    LoglikelihoodRequest,
    Progress,
    RollingAnswer,
    RollingRequest,
)
from gate.errors import EvaluationError
from gate.samples.record import SAMPLE_SCHEMA, TaskSamples
from gate.tasks import Item, Task
from gate.tasks.requests import Answer, Request, prompt_of

TOP_TOKENS = 128
"""Tokens of the baseline's distribution that are kept: 6 bytes each, 768 an item before compression."""
_WHOLE = 2**31 - 1  # more than any vocabulary; engines keep what there is
_NARROW = (
    1024  # wider distributions are asked for a few items at a time: Python's numbers take 60 bytes a token
)
_AT_ONCE = 32

References = Mapping[str, Distribution]
"""The baseline's stored distributions by item."""


@dataclass(frozen=True)
class _Asked:
    """One answer to an item that is wanted, and the requests that give it."""

    item: Item
    repeat: int
    requests: tuple[Request, ...]


def stored_references(baseline: TaskSamples) -> References:
    """Return the baseline's stored distributions by item; empty where it has none."""
    return _Stored(baseline.table)


class _Stored(References):
    """Distributions that are read from their rows when they are asked for: whole ones would fill the memory."""

    def __init__(self, table: pa.Table) -> None:
        kept = table.select(("item_id", "top_tokens", "top_logprobs", "tail_mass"))
        self._table = kept.filter(pc.is_valid(table.column("tail_mass"))).combine_chunks()
        self._places = {item: place for place, item in enumerate(self._table.column("item_id").to_pylist())}

    def __getitem__(self, item_id: str) -> Distribution:
        place = self._places[item_id]
        tokens, logprobs = (
            self._table.column(name)[place].values.to_numpy(zero_copy_only=False).tolist()
            for name in ("top_tokens", "top_logprobs")
        )
        return Distribution(tuple(tokens), tuple(logprobs), self._table.column("tail_mass")[place].as_py())

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def answer_items(
    task: Task,
    items: Sequence[Item],
    engine: Engine,
    progress: Progress,
    references: References | None,
    top_tokens: int | Literal["whole"] = TOP_TOKENS,
) -> pa.Table:
    """Put items to an engine and return their rows in `SAMPLE_SCHEMA`, the repeats of an item one after the other.

    Parameters
    ----------
    task : Task
    items : sequence of Item
        Some of the task's.
    engine : Engine
    progress : callable
        Told of answered items.
    references : mapping of item_id to Distribution, or None
        What divergences are measured from; None stores the distributions themselves.
    top_tokens : int or "whole"
        How many tokens of each distribution are stored (`distance.kl_top`); 0 for none.

    Raises
    ------
    EvaluationError
        Log-likelihoods that are not numbers, out of memory, an answer that cannot be scored.
    """
    kept = _WHOLE if top_tokens == "whole" else top_tokens
    if not items:
        return SAMPLE_SCHEMA.empty_table()
    at_once = len(items) if kept <= _NARROW else _AT_ONCE
    parts = [
        _answer(task, items[start : start + at_once], engine, progress, references, kept)
        for start in range(0, len(items), at_once)
    ]
    return pa.concat_tables(parts)


def _answer(
    task: Task,
    items: Sequence[Item],
    engine: Engine,
    progress: Progress,
    references: References | None,
    kept: int,
) -> pa.Table:
    render = functools.cache(engine.render_chat)
    asked = []
    for item in items:
        for repeat in range(task.repeats):
            requests = task.requests(item, repeat, render)
            if repeat == 0:
                requests = _measured(requests, item, kept, references)
            asked.append(_Asked(item, repeat, requests))
    every = [request for one in asked for request in one.requests]
    answers = iter(_answers(every, engine, _per_item(progress, len(every), len(items))))
    rows = [_row(task, one, [next(answers) for _ in one.requests]) for one in asked]
    return pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)


def _measured(
    requests: Sequence[Request], item: Item, kept: int, references: References | None
) -> tuple[Request, ...]:
    """Ask for the distribution of the answer's first token, or its divergence, with the first choices or text."""
    done = list(requests)
    for place, request in enumerate(done):
        if not isinstance(request, RollingRequest):
            if references is None:
                done[place] = replace(request, top=kept)
            else:
                done[place] = replace(request, reference=references.get(item.item_id))
            break
    return tuple(done)


def _per_item(progress: Progress, requests: int, items: int) -> Progress:
    """Return a progress of requests that tells another one of items."""
    seen = told = 0

    def report(count: int) -> None:
        nonlocal seen, told
        seen += count
        due = seen * items // max(requests, 1) - told
        if due:
            told += due
            progress(due)

    return report


def _answers(requests: Sequence[Request], engine: Engine, progress: Progress) -> list[Answer]:
    """Answer requests of any kind, in their order; an engine is given those of one kind and length together."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for place, request in enumerate(requests):
        key: tuple[object, ...] = (type(request),)
        if isinstance(request, GenerateRequest):
            key += (request.stop, request.max_tokens)
        groups.setdefault(key, []).append(place)
    found: dict[int, Answer] = {}
    for places in groups.values():
        found |= zip(places, _put(engine, [requests[place] for place in places], progress), strict=True)
    return [found[place] for place in range(len(requests))]


def _put(engine: Engine, requests: Sequence[Request], progress: Progress) -> Sequence[Answer]:
    """Call the engine with requests that are all of one kind."""
    first = requests[0]
    if isinstance(first, LoglikelihoodRequest):
        return engine.loglikelihood([r for r in requests if isinstance(r, LoglikelihoodRequest)], progress)
    if isinstance(first, RollingRequest):
        return engine.loglikelihood_rolling([r for r in requests if isinstance(r, RollingRequest)], progress)
    return engine.generate_until([r for r in requests if isinstance(r, GenerateRequest)], progress)


def _row(task: Task, asked: _Asked, answers: Sequence[Answer]) -> dict[str, object]:
    item = asked.item
    for answer in answers:
        _refuse_nan(item, answer)
    scored = task.score(item, answers)
    row: dict[str, object] = {
        "task": item.subtask or task.name,
        "item_id": item.item_id,
        "repeat": asked.repeat,
        "prompt_hash": text_digest(prompt_of(asked.requests[0])),
        "metric": task.metric,
        "score": scored.score,
        "correct": scored.correct,
        "output": scored.output,
        "target": item.target,
        "choice_logprobs": list(scored.loglikelihoods) or None,
        "cluster": item.cluster,
        "tokens_in": sum(
            answer.tokens if isinstance(answer, RollingAnswer) else answer.tokens_in for answer in answers
        ),
        "tokens_out": sum(
            answer.tokens if isinstance(answer, RollingAnswer) else answer.tokens_out for answer in answers
        ),
        "prompt": item.prompt,
        "choices": list(item.choices) or None,
    }
    for answer in answers:
        if not isinstance(answer, RollingAnswer):
            row |= _distribution_columns(answer)
    return row


def _distribution_columns(answer: LoglikelihoodAnswer | GenerateAnswer) -> dict[str, object]:
    stored, divergence = answer.distribution, answer.divergence
    columns: dict[str, object] = {}
    if stored is not None:
        columns["top_tokens"] = np.asarray(stored.tokens, np.int32)
        columns["top_logprobs"] = np.asarray(stored.logprobs, np.float16)
        columns["tail_mass"] = stored.tail
    if divergence is not None:
        columns["kl"] = divergence.kl
        columns["same_top"] = divergence.same_top
    return columns


def _refuse_nan(item: Item, answer: Answer) -> None:
    if isinstance(answer, GenerateAnswer):
        return
    values = (answer.loglikelihood,) if isinstance(answer, RollingAnswer) else answer.loglikelihoods
    if any(math.isnan(value) for value in values) or not any(map(math.isfinite, values)):
        raise EvaluationError(
            f"the model's log-likelihoods of item {item.item_id[:12]} "
            f"({item.prompt.strip()[:60]!r}) are not numbers: {', '.join(f'{v:g}' for v in values)}.",
            "The weights are broken or overflow in this dtype (try bfloat16 or float32); no verdict is possible.",
        )
