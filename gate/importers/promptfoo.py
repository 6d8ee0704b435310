"""Results of promptfoo: what `promptfoo eval --output results.json` (or .jsonl) writes.

The format is that of `EvaluateSummaryV3` and `EvaluateResult` in src/types/index.ts at commit 0011eb02, and of
version 2 of the summary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gate.common.canonical import digest
from gate.common.jsonlines import as_text, json_lines, mapping, optional_text, read_json
from gate.errors import SampleError
from gate.importers.files import LINES, no_rows, shorten, stem_of, suffix_of
from gate.importers.reading import Reading
from gate.importers.recognise import promptfoo_results
from gate.importers.scored import Part, Row, Rows, read_scored
from gate.samples.record import ModelSamples

_EXPECTED = "Expected what `promptfoo eval --output results.json` wrote."
_ERROR = 2  # ResultFailureReason.ERROR


def read_promptfoo(path: Path, files: Sequence[Path], reading: Reading) -> ModelSamples:
    """Read the results `files`, which were found at `path`, one task per file, as one model's samples.

    `item_id` is a hash of the variables of the test, with the prompt's label where there are several prompts, which
    are then one cluster. Equal ones are repeats. The metric is `success`, `score`, or a named score; default: success.

    Raises
    ------
    SampleError
        A file has results of several providers. See also `gate.importers.read_foreign`.
    """
    return read_scored("promptfoo", path, [_part(file) for file in files], reading)


def _part(file: Path) -> Part:
    results = list(_results(file))
    if not results:
        raise no_rows(file)
    providers = sorted({_provider(result) for _, result in results})
    if len(providers) > 1:
        raise SampleError(
            f"{file} holds the results of {len(providers)} providers: {shorten(providers)}.",
            "Write one file per provider, with `promptfoo eval --filter-providers NAME --output FILE`.",
        )
    return Part(stem_of(file), file, partial(_read, results), providers[0] or None, named_after_file=True)


def _results(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each result and where it is."""
    if suffix_of(file) in LINES:
        yield from ((f"line {line}", row) for line, row in json_lines(file))
        return
    for number, result in enumerate(promptfoo_results(read_json(file)) or [], start=1):
        if not isinstance(result, Mapping):
            raise SampleError(f"{file}: result {number} is a {type(result).__name__}, not an object.", _EXPECTED)
        yield f"result {number}", result


def _provider(result: Mapping[str, Any]) -> str:
    provider = result.get("provider")
    names = mapping(provider)
    return as_text(names.get("label") or names.get("id") or "") if names else as_text(provider or "")


def _read(results: Sequence[tuple[str, Mapping[str, Any]]]) -> Rows:
    labels = {_label(result) for _, result in results}
    rows = []
    for where, result in sorted(results, key=lambda entry: _position(entry[1])):
        test = mapping(result.get("testCase"))
        variables = mapping(result.get("vars")) or mapping(test.get("vars"))
        document = digest(variables if variables else [test.get("description"), _position(result)])
        prompt = mapping(result.get("prompt")).get("raw")
        asserted = test.get("assert")
        checks = [
            [mapping(check).get("type"), mapping(check).get("value")]
            for check in (asserted if isinstance(asserted, list) else [])
        ]
        named = mapping(result.get("namedScores"))
        rows.append(
            Row(
                document if len(labels) == 1 else f"{document} {digest(_label(result))[:8]}",
                where,
                {**named, "success": result.get("success"), "score": result.get("score")},
                output=optional_text(mapping(result.get("response")).get("output")),
                target=as_text(checks) if checks else None,
                prompt=optional_text(prompt),
                prompt_hash=None if prompt is None else digest(prompt),
                cluster=document if len(labels) > 1 else None,
                error=_error(result),
            )
        )
    return Rows(rows, {}, ("success",))


def _label(result: Mapping[str, Any]) -> str:
    """Return the template of the prompt."""
    prompt = result.get("prompt")
    return as_text(mapping(prompt).get("label") or result.get("promptIdx"))


def _position(result: Mapping[str, Any]) -> int:
    index = result.get("testIdx")
    return index if type(index) is int else 0


def _error(result: Mapping[str, Any]) -> str | None:
    """Return why there is no answer; None where an assertion failed, which sets `error`, too."""
    reason, error = result.get("failureReason"), result.get("error")
    failed = reason == _ERROR if reason is not None else bool(error) and not result.get("gradingResult")
    return as_text(error or "unknown") if failed else None
