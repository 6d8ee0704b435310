"""Evaluate items with an engine and return their rows: requests, answers, scores."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import pyarrow as pa

from gate.common.broken import problems_of
from gate.common.canonical import text_digest
from gate.engines import Engine, Progress
from gate.errors import EvaluationError
from gate.evaluation.follow import follow_texts
from gate.evaluation.recording import DEFAULT, Recording
from gate.evaluation.references import StoredDistributions, columns_of, distribution_columns
from gate.samples.broken import joined_problems
from gate.samples.record import SAMPLE_SCHEMA
from gate.tasks import Item, Message, Task
from gate.tasks.reasoning import shortened
from gate.tasks.requests import (
    Answer,
    GenerateAnswer,
    GenerateRequest,
    Later,
    LoglikelihoodRequest,
    Request,
    RollingAnswer,
    RollingRequest,
    prompt_of,
)

_NARROW = 1024  # tokens; wider distributions, at 60 bytes per token as Python numbers, are requested in small batches
_WIDE_BATCH = 32  # items


def answer_items(
    task: Task,
    items: Sequence[Item],
    engine: Engine,
    progress: Progress,
    references: StoredDistributions | None,
    recording: Recording = DEFAULT,
) -> pa.Table:
    """Evaluate items of a task with an engine.

    Parameters
    ----------
    progress : callable
        Called with the number of items finished since the last call.
    references : StoredDistributions or None
        Distributions to measure KL divergence from. None: store the distributions themselves.
    recording : Recording
        What to store of the distributions.

    Returns
    -------
    pyarrow.Table
        Rows in `SAMPLE_SCHEMA`, in the order of the items; the repeats of an item are adjacent.

    Raises
    ------
    EvaluationError
        NaN log-likelihoods, out of memory, or an answer that cannot be scored.
    """
    if not items:
        return SAMPLE_SCHEMA.empty_table()
    chosen = recording.chosen_of(task) if references is None else ()
    batch = len(items) if recording.requested_top <= _NARROW else _WIDE_BATCH
    tables = [
        _answer_batch(task, items[start : start + batch], engine, progress, references, recording, chosen)
        for start in range(0, len(items), batch)
    ]
    return pa.concat_tables(tables)


def _answer_batch(
    task: Task,
    items: Sequence[Item],
    engine: Engine,
    progress: Progress,
    references: StoredDistributions | None,
    recording: Recording,
    chosen: Collection[str],
) -> pa.Table:
    def render_chat(messages: Sequence[Message]) -> str:
        return engine.render_chat(messages, task.chat_format)

    render = functools.cache(render_chat)
    batch = []
    for item in items:
        for repeat in range(task.repeats):
            requests = task.requests(item, repeat, render)
            if repeat == 0 and (references is not None or item.item_id in chosen):
                requests = _with_distribution(requests, item, recording, references)
            batch.append((item, repeat, requests))
    later = sum(max(len(item.turns) - 1, 0) for item, *_ in batch)
    report = _count_items(progress, sum(len(requests) for *_, requests in batch) + later, len(items))
    answers: list[list[Answer]] = [[] for _ in batch]
    waiting = {number: requests for number, (*_, requests) in enumerate(batch)}
    while waiting:
        received = iter(_send([request for requests in waiting.values() for request in requests], engine, report))
        for number, requests in waiting.items():
            answers[number] += [next(received) for _ in requests]
        # the next turn of a chat depends on the answers so far
        waiting = {
            number: more for number in waiting if (more := task.follow_up(*batch[number][:2], render, answers[number]))
        }
    rows = [
        _row(task, item, repeat, requests[0], given)
        for (item, repeat, requests), given in zip(batch, answers, strict=True)
    ]
    texts = {
        number: (requests[0], given[0])
        for number, ((_, repeat, requests), given) in enumerate(zip(batch, answers, strict=True))
        if repeat == 0
        and isinstance(requests[0], GenerateRequest)
        and isinstance(given[0], GenerateAnswer)
        and prompt_of(requests[0]) is not None
    }
    for number, columns in follow_texts(texts, [item.item_id for item, *_ in batch], engine, recording, references):
        rows[number] |= columns
    return pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)


def _with_distribution(
    requests: Sequence[Request],
    item: Item,
    recording: Recording,
    references: StoredDistributions | None,
) -> tuple[Request, ...]:
    """Request the distributions along the right answer, or their divergences from the references."""
    index, followed = _right_answer(requests, item)
    request = requests[index]
    if references is None:
        request = replace(request, top=recording.requested_top, drawn=recording.drawn)
        later = Later(recording.positions, followed=followed)
    else:
        stored = references.get(item.item_id, ())
        request = replace(request, reference=stored[0] if stored else None)
        later = Later(references=tuple(stored[1:]), followed=followed)
    if not isinstance(request, GenerateRequest):
        request = replace(request, later=later)
    return (*requests[:index], request, *requests[index + 1 :])


def _right_answer(requests: Sequence[Request], item: Item) -> tuple[int, int]:
    """Return the request that scores the right choice and the index of its continuation; the first one if unknown."""
    wanted = item.target_index or 0
    for index, request in enumerate(requests):
        count = len(request.continuations) if isinstance(request, LoglikelihoodRequest) else 1
        if wanted < count:
            return index, wanted
        wanted -= count
    return 0, 0


def _count_items(progress: Progress, requests: int, items: int) -> Progress:
    """Return a callback for finished requests that reports finished items to `progress`."""
    finished = reported = 0

    def report(count: int) -> None:
        nonlocal finished, reported
        finished += count
        due = finished * items // max(requests, 1) - reported
        if due:
            reported += due
            progress(due)

    return report


def _send(requests: Sequence[Request], engine: Engine, progress: Progress) -> list[Answer]:
    """Return the answers in the order of the requests; each kind (and length) of request is one call of the engine."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, request in enumerate(requests):
        key: tuple[object, ...] = (type(request),)
        if isinstance(request, GenerateRequest):
            key += (request.stop, request.max_tokens)
        groups.setdefault(key, []).append(index)
    answers: dict[int, Answer] = {}
    for group in groups.values():
        answers |= zip(group, _call(engine, [requests[index] for index in group], progress), strict=True)
    return [answers[index] for index in range(len(requests))]


def _call(engine: Engine, requests: Sequence[Request], progress: Progress) -> Sequence[Answer]:
    """Call the engine with requests of one kind."""
    first = requests[0]
    if isinstance(first, LoglikelihoodRequest):
        return engine.loglikelihood([r for r in requests if isinstance(r, LoglikelihoodRequest)], progress)
    if isinstance(first, RollingRequest):
        return engine.loglikelihood_rolling([r for r in requests if isinstance(r, RollingRequest)], progress)
    return engine.generate_until([r for r in requests if isinstance(r, GenerateRequest)], progress)


def _row(task: Task, item: Item, repeat: int, first: Request, answers: Sequence[Answer]) -> dict[str, object]:
    for answer in answers:
        _refuse_nan(item, answer)
    scored = task.score(item, answers)
    tokens = [
        (0, answer.tokens) if isinstance(answer, RollingAnswer) else (answer.tokens_in, answer.tokens_out)
        for answer in answers
    ]
    prompt = prompt_of(first)
    row: dict[str, object] = {
        "task": item.subtask or task.name,
        "item_id": item.item_id,
        "repeat": repeat,
        "prompt_hash": None if prompt is None else text_digest(prompt),
        "metric": task.metric,
        "score": scored.score,
        "correct": scored.correct,
        "output": scored.output,
        "target": item.target,
        "choice_logprobs": list(scored.loglikelihoods) or None,
        "cluster": item.cluster,
        "tokens_in": sum(count for count, _ in tokens),
        "tokens_out": sum(count for _, count in tokens),
        "prompt": item.prompt,
        "choices": list(item.choices) or None,
        "text_words": scored.text_words,
        "text_bytes": scored.text_bytes,
    }
    row |= _endings([answer for answer in answers if isinstance(answer, GenerateAnswer)], scored.readable)
    for answer in answers:
        if isinstance(answer, GenerateAnswer):
            row |= distribution_columns(answer.distribution, answer.divergence, None)
        else:
            row |= columns_of(answer)
    return row


def _endings(answers: Sequence[GenerateAnswer], readable: bool | None) -> dict[str, object]:
    """Return why the texts of an item ended, their reasoning and what is broken: of several texts, the worst."""
    problems = [
        " ".join(problems_of(answer.text, answer.finish_reason, readable, answer.reasoning_closed))
        for answer in answers
    ]
    reasons = {answer.finish_reason for answer in answers}
    closed = {answer.reasoning_closed for answer in answers}
    reasoning = [answer.reasoning for answer in answers if answer.reasoning is not None]
    return {
        "finish_reason": next((reason for reason in ("length", None, "stop") if reason in reasons), None),
        "reasoning": shortened("\n\n".join(reasoning)) if reasoning else None,
        "problems": joined_problems(problems),
        "reasoning_closed": next((value for value in (False, True) if value in closed), None),
    }


def _refuse_nan(item: Item, answer: Answer) -> None:
    if isinstance(answer, GenerateAnswer):
        return
    values = (answer.loglikelihood,) if isinstance(answer, RollingAnswer) else answer.loglikelihoods
    if any(math.isnan(value) for value in values) or not any(map(math.isfinite, values)):
        raise EvaluationError(
            f"the model's log-likelihoods of item {item.item_id[:12]} "
            f"({item.prompt.strip()[:60]!r}) are not finite numbers: {', '.join(f'{v:g}' for v in values)}.",
            "The weights are damaged, or overflow in this dtype: try bfloat16 or float32.",
        )
