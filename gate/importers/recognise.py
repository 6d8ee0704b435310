"""Which tool wrote a row or an object of JSON, judged by its keys."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from gate.common.jsonlines import mapping
from gate.errors import SampleError
from gate.importers.sibling_folders import sibling

_HELM = ("per_instance_stats.json", "display_predictions.json")  # the files with scores, in order of preference
_OPENCOMPASS = "Pass the folder results/ of a run with --dump-eval-details."
_DETAIL = frozenset(["example_abbr", "pred", "predictions", "correct", "is_correct", "cascade_correct"])


class Kind(Enum):
    """The supported formats, in order of preference where a folder holds several."""

    HARNESS = "LM Evaluation Harness"
    INSPECT = "Inspect"
    NEMO = "NeMo Evaluator"
    LIGHTEVAL = "lighteval"
    HELM = "HELM"
    EVALSCOPE = "evalscope"
    OPENCOMPASS = "OpenCompass"
    PROMPTFOO = "promptfoo"
    DEEPEVAL = "DeepEval"
    JUDGED = "judge's verdicts"
    TABLE = "table"


class UnscoredFileError(SampleError):
    """A file of a known tool without a score per sample, such as predictions or totals."""


def kind_of_row(row: Mapping[str, Any], where: Path) -> Kind:
    """Return the format of a file by its first row.

    Raises
    ------
    UnscoredFileError
        The rows are predictions without scores.
    """
    if "doc_id" in row and ("filtered_resps" in row or "resps" in row):
        return Kind.HARNESS
    if "problem_idx" in row and "reward" in row:
        return Kind.NEMO
    if "instance_id" in row and "stats" in row:
        return Kind.HELM
    if "sum_squared" in row and isinstance(row.get("name"), Mapping):
        raise UnscoredFileError(
            f"{where} holds totals of HELM without scores per instance.", f"Pass the {_HELM[0]} of the same run."
        )
    if "sample_score" in row or ("reviewed" in row and "choices" in row):
        return Kind.EVALSCOPE
    pair = "model_1" in row and "model_2" in row and ("g1_winner" in row or "winner" in row)
    grade = "judgment" in row and "score" in row and "model" in row
    if pair or grade or ("games" in row and "model" in row) or {"output_1", "output_2", "preference"} <= set(row):
        return Kind.JUDGED
    if "testIdx" in row and "promptIdx" in row and "success" in row:
        return Kind.PROMPTFOO
    if "index" in row and "model_output" in row:
        raise UnscoredFileError(
            f"{where} holds predictions of evalscope, which have no scores.",
            "Pass the folder reviews/ of the same run.",
        )
    return Kind.TABLE


def kind_of_object(content: Mapping[str, Any], where: Path) -> Kind | None:
    """Return the format of a JSON file that holds one object, or None if it is not known.

    Raises
    ------
    UnscoredFileError
        It holds predictions or totals without scores per sample.
    """
    if "eval" in content and "version" in content:
        return Kind.INSPECT
    if promptfoo_results(content) is not None:
        return Kind.PROMPTFOO
    if deepeval_run(content) is not None:
        return Kind.DEEPEVAL
    if any(_is_detail(detail) for detail in _values(content.get("details"))):
        return Kind.OPENCOMPASS
    if "prediction" in mapping(content.get("0")):
        raise UnscoredFileError(f"{where} holds predictions of OpenCompass, which have no scores.", _OPENCOMPASS)
    if where.absolute().parent.parent.name == "results" and _is_totals(content):
        raise UnscoredFileError(f"{where} holds totals of OpenCompass without details per sample.", _OPENCOMPASS)
    return None


def promptfoo_results(content: Mapping[str, Any]) -> list[Any] | None:
    """Return the results in an output file of promptfoo; None for any other object."""
    summary = mapping(content.get("results")) or content
    results = summary.get("results")
    known = "stats" in summary or "evalId" in content
    return results if known and isinstance(results, list) else None


def deepeval_run(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the test run in a file of DeepEval; None for any other object."""
    run = mapping(content.get("testRunData")) or content
    known = any(isinstance(run.get(name), list) for name in ("testCases", "conversationalTestCases", "test_results"))
    return run if known else None


def is_companion(file: Path) -> bool:
    """Return whether a file is read together with the scores of the same run, and holds none itself."""
    helm = next((name for name in _HELM if (file.parent / name).is_file()), file.name)
    if file.suffix == ".json" and file.name != helm:
        return True  # run_spec.json, scenario_state.json, stats.json, ...
    scores = [sibling(file, "predictions", folder) for folder in ("results", "reviews")]
    return any(other is not None and other.is_file() for other in scores)


def _values(details: object) -> list[Any]:
    if isinstance(details, Mapping):
        return list(details.values())
    return details if isinstance(details, list) else []


def _is_detail(detail: object) -> bool:
    return not _DETAIL.isdisjoint(mapping(detail))


def _is_totals(content: Mapping[str, Any]) -> bool:
    return bool(content) and all(isinstance(value, int | float) for value in content.values())
