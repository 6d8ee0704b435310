"""Results of OpenCompass with details per sample: `results/MODEL/DATASET.json` beside `predictions/MODEL/DATASET.json`.

The format is that of `OpenICLEvalTask` and `BaseEvaluator.evaluate` at commit a5acc4bb (0.5.3), and of
`OpenICLEvalTask.format_details` in versions up to 0.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gate.common.canonical import digest
from gate.common.jsonlines import mapping, optional_text, read_json
from gate.importers.reading import Reading
from gate.importers.scored import Row, Rows, part_below, read_scored
from gate.importers.sibling_folders import sibling
from gate.samples.record import ModelSamples

_VERDICTS = ("correct", "is_correct", "cascade_correct", "score")
_NO_SCORES = frozenset(["index", "idx", "id", "length", "res_length", "all_input_length", "pred", "predictions",
                        "answer", "answers", "references", "refr", "parsed", "gold"])  # fmt: skip
_ANSWERS = ("pred", "predictions", "parsed")
_TARGETS = ("answer", "references", "refr", "answers", "gold")


def read_opencompass(path: Path, files: Sequence[Path], reading: Reading) -> ModelSamples:
    """Read the results `files`, which were found at `path`, one per dataset, as one model's samples.

    `item_id` is the tool's `example_abbr`, else the position in the dataset. The default metric is the verdict of the
    evaluator (`correct`, `is_correct`, `cascade_correct`, `score`). Without verdicts, it is `accuracy`: whether
    prediction and reference are equal, if the accuracy in the file confirms this. The predictions give the prompts.

    Raises
    ------
    SampleError
        See `gate.importers.read_foreign`.
    """
    return read_scored("OpenCompass", path, [part_below(file, "results", _read) for file in files], reading)


def _read(file: Path) -> Rows:
    content = read_json(file)
    details = list(_details(content.get("details")))
    prompts = _prompts(file)
    rows: list[Row] = []
    for position, (key, detail) in enumerate(details):
        item = detail.get("example_abbr")
        item_id = item if isinstance(item, str) else key
        for repeat, scores in enumerate(_scores(detail)):
            prompt = detail.get("prompt")
            if prompt is None:
                prompt = prompts.get(str(position + repeat * len(details)))
            rows.append(
                Row(
                    item_id,
                    f"details {key}" + (f", answer {repeat + 1}" if repeat else ""),
                    scores,
                    output=_first(detail, _ANSWERS, repeat),
                    target=_first(detail, _TARGETS, repeat),
                    prompt=_question(prompt),
                    prompt_hash=None if prompt is None else digest(prompt),
                    repeat=repeat,
                )
            )
    return Rows(_with_matches(rows, content.get("accuracy")), {}, _VERDICTS)


def _with_matches(rows: Sequence[Row], accuracy: object) -> Sequence[Row]:
    """Return the rows, scored by whether output and target are equal if nothing else scores them.

    `AccEvaluator` logs no verdicts. Equality is its score only where the file's accuracy (percent) confirms it.
    """
    scored = any(value is not None for row in rows for value in row.scores.values())
    if not rows or scored or not isinstance(accuracy, int | float):
        return rows
    matches = [row.target is not None and row.output == row.target for row in rows]
    if abs(100.0 * sum(matches) / len(rows) - accuracy) > 1e-6:
        return rows
    return [replace(row, scores={"accuracy": match}) for row, match in zip(rows, matches, strict=True)]


def _details(details: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield key and content of each detail: of a list, or of an object with the positions as keys."""
    if isinstance(details, list):
        yield from ((str(number), mapping(detail)) for number, detail in enumerate(details))
    elif isinstance(details, Mapping):
        yield from ((str(key), mapping(detail)) for key, detail in details.items() if key != "type")


def _scores(detail: Mapping[str, Any]) -> list[dict[str, object]]:
    """Return the scores of each answer to an item: values are lists where there are several answers."""
    lists = {name: value for name, value in detail.items() if name not in _NO_SCORES and _are_scores(value)}
    answers = max((len(value) for value in lists.values()), default=1)
    scores: list[dict[str, object]] = [
        {name: value[number] for name, value in lists.items() if number < len(value)} for number in range(answers)
    ]
    if answers == 1:
        scores[0] |= {
            name: value
            for name, value in detail.items()
            if name not in _NO_SCORES and not isinstance(value, str | list | dict)
        }
    return scores


def _are_scores(values: object) -> bool:
    return isinstance(values, list) and bool(values) and not any(isinstance(one, str | list | dict) for one in values)


def _first(detail: Mapping[str, Any], names: Sequence[str], repeat: int) -> str | None:
    """Return the first of the named values, of one answer; a list with one value as that value."""
    value = next((detail[name] for name in names if detail.get(name) is not None), None)
    if "example_abbr" in detail and isinstance(value, list):  # one per answer
        value = value[repeat] if repeat < len(value) else None
    return optional_text(value)


def _question(prompt: object) -> str | None:
    """Return a prompt as text; of a dialogue with one turn, what it says."""
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(mapping(prompt[0]).get("prompt"), str):
        prompt = prompt[0]["prompt"]
    return optional_text(prompt)


def _prompts(file: Path) -> dict[str, object]:
    """Return `origin_prompt` by position from the predictions of the same dataset; empty if they are not there."""
    predictions = sibling(file, "results", "predictions")
    if predictions is None or not predictions.is_file():
        return {}
    content = read_json(predictions)
    prompts = {key: mapping(entry).get("origin_prompt") for key, entry in content.items()}
    return {key: prompt for key, prompt in prompts.items() if prompt is not None}
