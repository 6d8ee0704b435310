"""One row of an LM Evaluation Harness `samples_*.jsonl`: what was asked, answered and scored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gate.canonical import canonical_json, text_digest
from gate.errors import SampleError
from gate.importers.jsonlines import clean_text, json_lines

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
    ]
)


class HarnessRow(NamedTuple):  # made 100,000 times a file, three times as fast as a frozen dataclass
    """One document, answered, under one filter.

    Attributes
    ----------
    line : int
    filter_name : str
    doc_id : int
        Position of the document in its dataset.
    doc_hash, prompt_hash : str
        SHA-256; computed as the harness does where an old version left them out.
    target : str
    metrics : mapping
        Values as logged, by metric.
    answer : str
        What the filter left of the answer (generation); "" where choices were scored.
    loglikelihoods : tuple of float
        Nats, one a choice; empty for generation.
    unconditioned : tuple of float
        The same without the context, where `acc_mutual_info` asked for them.
    prompt : str
    choices : tuple of str
        Continuations that were scored, with the space before them; empty for generation.
    generation : str
        Canonical JSON of the generation settings; "" where choices were scored.
    """

    line: int
    filter_name: str
    doc_id: int
    doc_hash: str
    prompt_hash: str
    target: str
    metrics: Mapping[str, Any]
    answer: str
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
        A line that is not JSON, or not such a row; the message names file and line.
    """
    for line, row in json_lines(path):
        try:
            yield _row(line, row)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise SampleError(
                f"{path}:{line}: not a row that LM Evaluation Harness logs: {what}.",
                "Expected doc_id, doc, target, arguments, filtered_resps and a field per metric (version 0.4).",
            ) from None


def _row(line: int, row: Mapping[str, Any]) -> HarnessRow:
    requests = _requests(row.get("arguments") or [])
    responses = row["resps"] if "filtered_resps" not in row and "resps" in row else row["filtered_resps"]
    scored = _scored(responses)
    conditioned = len(requests) // 2 if _mutual_information(requests) else len(requests)
    multiple_choice = len(scored) > 1 and len(scored) == len(requests)
    contexts = [request[0] for request in requests[:conditioned]]
    prompt = clean_text(_plain(contexts[0])) if contexts else ""
    choices: tuple[str, ...] = ()
    if multiple_choice:
        choices = tuple(clean_text(str(request[1])) for request in requests[:conditioned])
        if contexts.count(contexts[0]) < len(contexts):  # the choice is in the context (WinoGrande)
            prompt, choices = choices[0], tuple(clean_text(_plain(context)) for context in contexts)
    logged = row.get("doc_hash")
    doc_hash = logged if isinstance(logged, str) else _doc_hash(row["doc"])
    prompt_hash = row.get("prompt_hash")
    if not isinstance(prompt_hash, str):
        prompt_hash = text_digest(_plain(requests[0][0])) if requests else text_digest("")
    settings = requests[0][1] if requests and len(requests[0]) > 1 else None
    names = row.get("metrics")
    if not isinstance(names, list):  # before 0.4.4
        names = [key for key, value in row.items() if key not in _FIELDS and not isinstance(value, str)]
    return HarnessRow(
        line=line,
        filter_name=str(row.get("filter", "none")),
        doc_id=int(row["doc_id"]),
        doc_hash=doc_hash,
        prompt_hash=prompt_hash,
        target=clean_text(_plain(row.get("target", ""))),
        metrics={str(name): row.get(name) for name in names},
        answer="" if multiple_choice else _answer(responses, scored),
        loglikelihoods=tuple(scored[:conditioned]) if multiple_choice else (),
        unconditioned=tuple(scored[conditioned:]) if multiple_choice else (),
        prompt=prompt,
        choices=choices,
        generation=canonical_json(settings) if isinstance(settings, dict) else "",
    )


def _requests(arguments: object) -> list[Sequence[Any]]:
    """Return the arguments of each request; 0.4.3 and later log them as {"gen_args_0": {"arg_0": ...}}."""
    if isinstance(arguments, Mapping):
        return [
            tuple(values.values()) if isinstance(values, Mapping) else (values,)
            for values in arguments.values()
        ]
    if not isinstance(arguments, list):
        raise TypeError(f"arguments is a {type(arguments).__name__}")
    return [one if isinstance(one, list) else [one] for one in arguments]


def _scored(responses: object) -> list[float]:
    """Return the log-likelihoods (nats) where responses are [log-likelihood, is greedy] pairs, else nothing."""
    if not isinstance(responses, list):
        raise TypeError(f"filtered_resps is a {type(responses).__name__}")
    values = []
    for response in responses:
        greedy = response[1] if isinstance(response, list) and len(response) == 2 else None
        if str(greedy) not in ("True", "False"):
            return []
        values.append(float(response[0]))
    return values


def _mutual_information(requests: Sequence[Sequence[Any]]) -> bool:
    """Tell whether the second half asks for the same continuations without a context (acc_mutual_info)."""
    half, odd = divmod(len(requests), 2)
    if odd or half < 2 or requests[-1][0] != "" or any(len(request) != 2 for request in requests):
        return False
    return all(
        requests[half + i][0] == "" and requests[i][0] != "" and requests[half + i][1] == requests[i][1]
        for i in range(half)
    )


def _answer(responses: Sequence[Any], scored: Sequence[float]) -> str:
    if scored:  # a single continuation, e.g. LAMBADA: whether it is the greedy one
        return str(responses[0][1])
    value: Any = responses
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return clean_text(_plain(value))


def _plain(value: object) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def _doc_hash(doc: object) -> str:
    text = json.dumps(doc, indent=2, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
