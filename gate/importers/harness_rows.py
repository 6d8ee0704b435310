"""One row of an LM Evaluation Harness `samples_*.jsonl`: document, prompt, answer and metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from gate.common.canonical import canonical_json, text_digest
from gate.common.jsonlines import as_text, clean_text, json_lines
from gate.common.lm_eval import without_addresses
from gate.errors import SampleError

_FIELDS = frozenset(
    [
        "doc_id",
        "doc",
        "target",
        "arguments",
        "resps",
        "filtered_resps",
        "filter",
        "metrics",
        "doc_hash",
        "prompt_hash",
        "target_hash",
        "task_name",
    ]
)


class HarnessRow(NamedTuple):  # built 100,000 times per file; three times as fast as a frozen dataclass
    """The answer to one document under one filter.

    Attributes
    ----------
    task : str or None
        The task that the row names itself; None if only the file's name tells.
    doc_id : int
        Position of the document in its dataset.
    doc_hash, prompt_hash : str
        SHA-256; computed as lm-eval does for old versions, which did not log them. A document that holds the address of
        an object (an image), which differs in every process, is hashed without it.
    metrics : mapping
        Logged values, by metric.
    answer : str
        The filtered text of a generation; "" for multiple choice.
    finite : bool
        Whether every log-likelihood is.
    loglikelihoods : tuple of float
        Nats, one per choice; empty for a generation.
    unconditioned : tuple of float
        The same without the context, where `acc_mutual_info` was logged.
    choices : tuple of str
        Continuations that were scored, with the target delimiter before them; empty for a generation.
    generation : str
        Canonical JSON of the generation settings; "" for multiple choice.
    """

    line: int
    task: str | None
    filter_name: str
    doc_id: int
    doc_hash: str
    prompt_hash: str
    target: str
    metrics: Mapping[str, Any]
    answer: str
    finite: bool
    loglikelihoods: tuple[float, ...]
    unconditioned: tuple[float, ...]
    prompt: str
    choices: tuple[str, ...]
    generation: str


def harness_rows(path: Path) -> Iterator[HarnessRow]:
    """Yield the rows of a file.

    Raises
    ------
    SampleError
        A line is not JSON, or not such a row.
    """
    for line, row in json_lines(path):
        try:
            yield _row(line, row)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise SampleError(
                f"{path}:{line}: not a row of LM Evaluation Harness: {reason}.",
                "Expected doc_id, doc, target, arguments, filtered_resps and one field per metric (version 0.4).",
            ) from None


def _row(line: int, row: Mapping[str, Any]) -> HarnessRow:
    requests = _requests(row.get("arguments") or [])
    responses = row["resps"] if "filtered_resps" not in row and "resps" in row else row["filtered_resps"]
    scored = _loglikelihoods(responses)
    conditioned = len(requests) // 2 if _has_unconditioned(requests) else len(requests)
    multiple_choice = len(scored) > 1 and len(scored) == len(requests)
    contexts = [request[0] for request in requests[:conditioned]]
    prompt = as_text(contexts[0]) if contexts else ""
    choices: tuple[str, ...] = ()
    if multiple_choice:
        choices = tuple(clean_text(str(request[1])) for request in requests[:conditioned])
        if contexts.count(contexts[0]) < len(contexts):  # the choice is part of the context (WinoGrande)
            prompt, choices = choices[0], tuple(as_text(context) for context in contexts)
    doc_hash = row.get("doc_hash")
    if not isinstance(doc_hash, str) or _holds_address(row.get("doc")):
        doc_hash = text_digest(without_addresses(json.dumps(row["doc"], indent=2, ensure_ascii=False)))
    prompt_hash = row.get("prompt_hash")
    if not isinstance(prompt_hash, str):
        context = requests[0][0] if requests else ""
        prompt_hash = text_digest(context if isinstance(context, str) else canonical_json(context))
    settings = requests[0][1] if requests and len(requests[0]) > 1 else None
    metrics = row.get("metrics")
    if not isinstance(metrics, list):  # before 0.4.4
        metrics = [key for key, value in row.items() if key not in _FIELDS and not isinstance(value, str)]
    task = row.get("task_name")
    return HarnessRow(
        line=line,
        task=task if isinstance(task, str) and task else None,
        filter_name=str(row.get("filter", "none")),
        doc_id=int(row["doc_id"]),
        doc_hash=doc_hash,
        prompt_hash=prompt_hash,
        target=as_text(row.get("target", "")),
        metrics={str(name): row.get(name) for name in metrics},
        answer="" if multiple_choice else _answer(responses, scored),
        finite=all(map(isfinite, scored)),
        loglikelihoods=tuple(scored[:conditioned]) if multiple_choice else (),
        unconditioned=tuple(scored[conditioned:]) if multiple_choice else (),
        prompt=prompt,
        choices=choices,
        generation=canonical_json(settings) if isinstance(settings, dict) else "",
    )


def _holds_address(value: object) -> bool:
    """Return whether a text in a document is like `<PIL.Image.Image at 0x7F10C0DE0000>`."""
    if isinstance(value, str):
        return " at 0x" in value
    if isinstance(value, Mapping):
        return any(map(_holds_address, value.values()))
    return isinstance(value, list) and any(map(_holds_address, value))


def _requests(arguments: object) -> list[Sequence[Any]]:
    """Return the arguments of each request, which 0.4.3 and later log as {"gen_args_0": {"arg_0": ...}}."""
    if isinstance(arguments, Mapping):
        return [tuple(values.values()) if isinstance(values, Mapping) else (values,) for values in arguments.values()]
    if not isinstance(arguments, list):
        raise TypeError(f"arguments is a {type(arguments).__name__}")
    return [request if isinstance(request, list) else [request] for request in arguments]


def _loglikelihoods(responses: object) -> list[float]:
    """Return the log-likelihoods (nats) of [log-likelihood, is greedy] pairs; nothing for other responses."""
    if not isinstance(responses, list):
        raise TypeError(f"filtered_resps is a {type(responses).__name__}")
    values = []
    for response in responses:
        greedy = response[1] if isinstance(response, list) and len(response) == 2 else None
        if str(greedy) not in ("True", "False"):
            return []
        values.append(float(response[0]))
    return values


def _has_unconditioned(requests: Sequence[Sequence[Any]]) -> bool:
    """Return whether the second half repeats the continuations of the first without context (acc_mutual_info)."""
    half, odd = divmod(len(requests), 2)
    if odd or half < 2 or requests[-1][0] != "" or any(len(request) != 2 for request in requests):
        return False
    return all(
        second[0] == "" and first[0] != "" and second[1] == first[1]
        for first, second in zip(requests[:half], requests[half:], strict=True)
    )


def _answer(responses: Sequence[Any], scored: Sequence[float]) -> str:
    if scored:  # a single continuation (LAMBADA): whether greedy decoding gives it
        return str(responses[0][1])
    value: Any = responses
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return as_text(value)
