"""Test runs of DeepEval: `test_run_DATE.json`, `.deepeval/.latest_test_run.json`, and the result of `evaluate()`.

The format is that of `deepeval.test_run.TestRun` and `deepeval.evaluate.types.EvaluationResult` at commit a2e0d4cf
(4.1.10). The former has names in camel case, the latter with underscores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gate.common.canonical import digest
from gate.common.jsonlines import as_text, mapping, optional_text, read_json
from gate.errors import SampleError
from gate.importers.files import stem_of
from gate.importers.reading import Reading
from gate.importers.recognise import deepeval_run
from gate.importers.scored import Part, Row, Rows, read_scored
from gate.samples.record import ModelSamples

_SUCCESS = "success"


def read_deepeval(path: Path, files: Sequence[Path], reading: Reading) -> ModelSamples:
    """Read the test runs `files`, which were found at `path`, one task per file, as one model's samples.

    `item_id` is a hash of the input and the expected output; equal ones are repeats. The metric is the score of one of
    DeepEval's metrics, or `success` of the whole test case if it is asked for. Which direction is better is taken from
    the file: a metric that succeeds below its threshold is better when lower.

    Raises
    ------
    SampleError
        See `gate.importers.read_foreign`.
    """
    return read_scored("DeepEval", path, [_part(file, reading.metric) for file in files], reading)


def _part(file: Path, metric: str | None) -> Part:
    run = deepeval_run(read_json(file)) or {}
    model = mapping(run.get("hyperparameters")).get("model")
    read = partial(_read, file, run, metric)
    return Part(stem_of(file), file, read, model if isinstance(model, str) else None, named_after_file=True)


def _read(file: Path, run: Mapping[str, Any], metric: str | None) -> Rows:
    rows = []
    below: dict[str, set[bool]] = {}
    for number, case in enumerate(_cases(run), start=1):
        if not isinstance(case, Mapping):
            raise SampleError(
                f"{file}: test case {number} is a {type(case).__name__}, not an object.",
                "Expected a test run that DeepEval wrote.",
            )
        where = f"test case {number}"
        scores: dict[str, object] = {_SUCCESS: case.get("success")} if metric == _SUCCESS else {}
        errors = []
        measured = _first(case, "metricsData", "metrics_data")
        for entry in measured if isinstance(measured, list) else []:
            data = mapping(entry)
            name = data.get("name")
            if not isinstance(name, str):
                raise SampleError(f"{file}, {where}: a metric has no name.", "Expected a test run that DeepEval wrote.")
            if name in scores and scores[name] != data.get("score"):
                raise SampleError(
                    f"{file}, {where}: has two scores of {name}.", "Give the metrics different names, and run again."
                )
            scores[name] = data.get("score")
            below.setdefault(name, set()).update(_below(data))
            if data.get("error") is not None and metric in (None, name):
                errors.append(as_text(data["error"]))
        rows.append(_row(case, where, scores, errors))
    higher = {name: seen == {False} for name, seen in below.items() if len(seen) == 1}
    return Rows(rows, {}, (), higher, file.name)


def _cases(run: Mapping[str, Any]) -> Iterator[object]:
    for name in ("testCases", "conversationalTestCases", "test_results"):
        cases = run.get(name)
        yield from cases if isinstance(cases, list) else ()


def _row(case: Mapping[str, Any], where: str, scores: Mapping[str, object], errors: Sequence[str]) -> Row:
    """Return the row of a test case, with one turn or several."""
    question = _first(case, "input", "scenario")
    expected = _first(case, "expectedOutput", "expected_output", "expectedOutcome")
    answer = _first(case, "actualOutput", "actual_output", "turns")
    name = case.get("name")
    return Row(
        digest([question if question is not None else name, expected]),
        f"{where} ({name[:60]})" if isinstance(name, str) else where,
        scores,
        output=optional_text(answer),
        target=optional_text(expected),
        prompt=optional_text(question),
        prompt_hash=None if question is None else digest(question),
        error=errors[0] if errors else None,
    )


def _below(data: Mapping[str, Any]) -> set[bool]:
    """Return whether the metric succeeds below its threshold; empty if this score does not tell."""
    score, threshold, success = data.get("score"), data.get("threshold"), data.get("success")
    if isinstance(score, int | float) and isinstance(threshold, int | float) and isinstance(success, bool):
        return set() if score == threshold else {(score < threshold) is success}
    return set()


def _first(case: Mapping[str, Any], *names: str) -> Any:
    return next((case[name] for name in names if case.get(name) is not None), None)
