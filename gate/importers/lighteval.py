"""Details of lighteval (`--save-details`): one `details_TASK_DATE.parquet` per task.

The format is that of its `EvaluationTracker.save_details`: at commit 3fd15266 (0.13) the columns `doc`,
`model_response` and `metric`; up to 0.10 `example`, `full_prompt`, `predictions`, `gold` and `metrics`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gate.common.canonical import digest
from gate.common.jsonlines import as_text, mapping, optional_text, read_json
from gate.common.lm_eval import DEFAULT_METRICS
from gate.common.parquet import TooLargeError, read_rows
from gate.errors import SampleError
from gate.importers.build import NONFINITE
from gate.importers.reading import Reading
from gate.importers.scored import Part, Row, Rows, numbered, read_scored
from gate.importers.sibling_folders import below, sibling
from gate.samples.record import ModelSamples

_NAME = re.compile(r"details_(?P<task>.+?)_(?P<date>\d{4}-\d\d-\d\dT.+)")
_DEFAULTS = (*DEFAULT_METRICS, "em", "extractive_match")
_DOC = ("query", "choices", "gold_index", "id")
_RESPONSE = ("input", "text", "text_post_processed", "logprobs")
_OLD = ("example", "full_prompt", "predictions", "choices", "gold", "gold_index", "pred_logits", "metrics")
_LEAVES = (
    *(f"{column}.{name}" for column in ("doc", "__doc__") for name in _DOC),
    *(f"{column}.{name}" for column in ("model_response", "__model_response__") for name in _RESPONSE),
    *("metric", "__metric__", *_OLD),
)


def read_lighteval(path: Path, files: Sequence[Path], reading: Reading) -> ModelSamples:
    """Read the details `files`, which were found at `path`, one per task, as one model's samples.

    `item_id` is a hash of the document (query, choices, gold). Equal documents are numbered in order of their ids.

    Raises
    ------
    SampleError
        See `gate.importers.read_foreign`.
    """
    return read_scored("lighteval", path, [_part(file) for file in files], reading)


def _part(file: Path) -> Part:
    named = _NAME.fullmatch(file.stem)
    if named is None:
        return Part(file.stem, file, partial(_read, file, file.stem), named_after_file=True)
    read = partial(_read, file, named["task"])
    return Part(named["task"], file, read, below(file, "details", levels=1), named["date"])


def _read(file: Path, task: str) -> Rows:
    import pyarrow as pa

    try:
        records = read_rows(file, _LEAVES)
    except TooLargeError as error:
        raise SampleError(f"{file}: {error}.", "Split the file.") from None
    except (pa.ArrowException, OSError, UnicodeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SampleError(
            f"{file} is not a readable Parquet file: {reason}.", "Check whether it is truncated."
        ) from None
    rows = [_row(record, file, number) for number, record in enumerate(records, start=1)]
    order = sorted(range(len(rows)), key=lambda index: _position(records[index], index))
    ids = numbered([rows[index].item_id for index in order])
    rows = [replace(rows[index], item_id=name) for index, name in zip(order, ids, strict=True)]
    fewshot = task.rpartition("|")[2]
    summary = _summary(file)
    return Rows(
        rows,
        {"num_fewshot": fewshot} if fewshot.isdigit() else {},
        _DEFAULTS,
        {} if summary is None else _directions(read_json(summary), task),
        "" if summary is None else summary.name,
    )


def _row(record: Mapping[str, Any], file: Path, number: int) -> Row:
    doc = mapping(record.get("doc") or record.get("__doc__"))
    answer = mapping(record.get("model_response") or record.get("__model_response__"))
    source: Mapping[str, Any] = doc or record
    query = doc.get("query") if doc else record.get("example") or record.get("full_prompt")
    prompt = answer.get("input") if answer else record.get("full_prompt")
    texts = (answer.get("text_post_processed") or answer.get("text")) if answer else record.get("predictions")
    gold = _gold(source.get("choices"), source.get("gold_index")) if doc else record.get("gold")
    if query is None:
        raise SampleError(
            f"{file}, row {number}: has no query.", "Expected details that lighteval wrote with --save-details."
        )
    _refuse_nonfinite(answer.get("logprobs") if answer else record.get("pred_logits"), file, number)
    return Row(
        digest([query, source.get("choices"), gold]),
        f"row {number}",
        mapping(record.get("metric") or record.get("__metric__") or record.get("metrics")),
        output=_text(texts),
        target=_text(gold),
        prompt=as_text(query),
        prompt_hash=None if prompt is None else digest(prompt),
    )


def _position(record: Mapping[str, Any], index: int) -> tuple[int, int]:
    """Sort by the document's id, a number as text; rows without one keep their order."""
    number = mapping(record.get("doc") or record.get("__doc__")).get("id")
    return (int(number) if isinstance(number, str) and number.isdecimal() and len(number) < 19 else 0, index)


def _gold(choices: object, index: object) -> object:
    """Return the text of the correct choice, or of all of them; the index where there is no such choice."""
    if isinstance(index, list):
        return [_gold(choices, one) for one in index]
    if isinstance(choices, list) and isinstance(index, int) and 0 <= index < len(choices):
        return choices[index]
    return index


def _text(value: object) -> str | None:
    """Return a text, a list with one text as that text, and any other value as JSON."""
    if isinstance(value, list):
        if not value:
            return None
        value = value[0] if len(value) == 1 else value
    return optional_text(value)


def _refuse_nonfinite(logprobs: object, file: Path, number: int) -> None:
    values = logprobs if isinstance(logprobs, list) else [logprobs]
    if any(isinstance(value, float) and not math.isfinite(value) for value in values):
        raise SampleError(
            f"{file}, row {number}: the log-likelihoods are NaN or infinite.",
            NONFINITE,
        )


def _summary(file: Path) -> Path | None:
    """Return `results/MODEL/results_DATE.json` of `details/MODEL/DATE/details_TASK_DATE.parquet`, if it is there."""
    folder = sibling(file, "details", "results")
    summary = None if folder is None else folder.parent.parent / f"results_{folder.parent.name}.json"
    return summary if summary is not None and summary.is_file() else None


def _directions(summary: Mapping[str, Any], task: str) -> dict[str, bool]:
    """Return `higher_is_better` by metric, as the summary says."""
    tasks = mapping(summary.get("config_tasks"))
    config = mapping(tasks.get(task) or tasks.get(task.rpartition("|")[0]))
    declared: dict[str, bool] = {}
    metrics = config.get("metrics") or config.get("metric")
    for metric in metrics if isinstance(metrics, list) else []:
        names, higher = mapping(metric).get("metric_name"), mapping(metric).get("higher_is_better")
        for name in names if isinstance(names, list) else [names]:
            value = higher.get(name) if isinstance(higher, Mapping) else higher
            if isinstance(name, str) and isinstance(value, bool):
                declared[name] = value
    return declared
