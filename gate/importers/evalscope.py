"""Reviews of evalscope: `reviews/MODEL/BENCHMARK_SUBSET.jsonl`.

The format is that of `evalscope.api.evaluator.cache.ReviewResult` at commit fde259d2 (1.10), and of
`Evaluator._get_review` in 0.17.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gate.common.canonical import digest
from gate.common.jsonlines import as_text, json_lines, mapping, optional_text
from gate.common.lm_eval import DEFAULT_METRICS
from gate.errors import SampleError
from gate.importers.reading import Reading
from gate.importers.scored import Row, Rows, part_below, read_scored
from gate.samples.record import ModelSamples

_EXPECTED = "Expected a file of the folder reviews/ that evalscope wrote."
_SCORED = ("success", "fallback", None)  # any other status: the judge failed, and the sample has no score


def read_evalscope(path: Path, files: Sequence[Path], reading: Reading) -> ModelSamples:
    """Read the reviews `files`, which were found at `path`, one per benchmark and subset, as one model's samples.

    `item_id` is the sample's group, else its index. The default metric is the main score that the reviews name, else
    the first, as in evalscope.

    Raises
    ------
    SampleError
        See `gate.importers.read_foreign`.
    """
    return read_scored("evalscope", path, [part_below(file, "reviews", _read) for file in files], reading)


def _read(file: Path) -> Rows:
    reviews = sorted(
        ((_index(review, f"{file}:{line}"), line, review) for line, review in json_lines(file)),
        key=lambda entry: (len(entry[0]), entry[0], entry[1]),  # "9" before "10"
    )
    rows: list[Row] = []
    main: dict[str, None] = {}
    for index, line, review in reviews:
        if "sample_score" in review:
            row, name = _row(index, f"line {line}", review)
            main |= {} if name is None else {name: None}
            rows.append(row)
        else:
            rows += _old_rows(index, f"line {line}", review)
    defaults = tuple(main) if main else DEFAULT_METRICS  # 0.x names no main score
    return Rows(rows, {}, defaults if len(main) < 2 else ())


def _index(review: Mapping[str, Any], where: str) -> str:
    index = review.get("index", mapping(review.get("sample_score")).get("sample_id"))
    if type(index) not in (int, str) or index == "":  # a bool is an instance of int, too
        raise SampleError(f"{where}: expected a number or text as index, found {as_text(index)[:40]!r}.", _EXPECTED)
    return as_text(str(index))


def _row(index: str, where: str, review: Mapping[str, Any]) -> tuple[Row, str | None]:
    """Return the row of a review and the name of its main score."""
    sample = mapping(review.get("sample_score"))
    score = mapping(sample.get("score"))
    group, attempt = sample.get("group_id"), sample.get("generation_index")
    values = mapping(score.get("value"))
    question = _question(review)
    answer = score.get("extracted_prediction")
    if answer is None:
        answer = score.get("prediction")
    status = score.get("status")
    main = score.get("main_score_name")
    row = Row(
        index if group is None else as_text(group),
        where,
        values,
        output=optional_text(answer),
        target=optional_text(review.get("target")),
        prompt=optional_text(question),
        prompt_hash=None if question is None else digest(question),
        repeat=attempt if type(attempt) is int and 0 <= attempt < 2**31 else None,
        error=None if status in _SCORED else f"status {status}",
    )
    return row, main if isinstance(main, str) and main in values else next(iter(values), None)


def _question(review: Mapping[str, Any]) -> object:
    """Return the messages before the model's first answer as role and content, or the input as text."""
    if isinstance(review.get("input"), str):
        return review["input"]
    messages = review.get("messages")
    question = []
    for message in messages if isinstance(messages, list) else []:
        if mapping(message).get("role") == "assistant":
            break
        question.append([mapping(message).get("role"), mapping(message).get("content")])
    if len(question) == 1:
        return question[0][1]
    return question or None


def _old_rows(index: str, where: str, review: Mapping[str, Any]) -> Iterator[Row]:
    """Yield one row per answer of a review of evalscope 0.x."""
    choices = review.get("choices")
    question = review.get("raw_input")
    if not isinstance(choices, list) or not choices:
        yield Row(index, where, {}, error="no choices")
        return
    for repeat, choice in enumerate(choices):
        verdict = mapping(mapping(choice).get("review"))
        result = verdict.get("result")
        yield Row(
            index,
            where,
            result if isinstance(result, Mapping) else {"result": result},
            output=optional_text(verdict.get("pred")),
            target=optional_text(verdict.get("gold")),
            prompt=optional_text(question),
            prompt_hash=None if question is None else digest(question),
            repeat=repeat,
        )
