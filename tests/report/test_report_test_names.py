"""Each p-value comes with the true name of its test, in every output format; results of old versions stay readable."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gate.config import DecisionSettings
from gate.decision import decide
from gate.github.annotations import verdict_annotations
from gate.importers.build import task_samples
from gate.report import Result, build_result, print_result, read_result, render
from gate.report.figures import pooled
from gate.samples import ModelSamples, pair

OLD = Path(__file__).parent / "old_results"
"""Written by the version before `independent` existed: a task of independent items and one of clusters, both binary."""


def result_at(margin: float, graded: bool = False, clusters: bool = False) -> Result:
    """The result of one task of 60 items, 40 of them worse."""
    sides = []
    for label, low in (("a", 1.0), ("b", 0.25 if graded else 0.0)):
        columns: dict[str, Any] = {
            "item_id": [f"i{n:02}" for n in range(60)],
            "score": [low] * 40 + [1.0] * 20,
        }
        if clusters:
            columns["cluster"] = [f"c{n // 2}" for n in range(60)]
        about = {"weights": "1" * 64, "sets": {"task": {"task_fingerprint": "2" * 64}}}
        sides.append(ModelSamples(label, {"task": task_samples("task", "score", columns)}, about))
    pairing = pair(*sides)
    settings = DecisionSettings(draws=1_000, margin=margin)
    return build_result(decide(pairing.tasks, settings), pairing, *sides, settings, 0, [])


def outputs(result: Result) -> dict[str, str]:
    """Every output format of a result, with line breaks removed."""
    terminal = io.StringIO()
    print_result(result, Console(file=terminal, width=160))
    texts = {form: render(form, result) for form in ("markdown", "html", "junit", "json", "attestation")}
    texts |= {
        "terminal": terminal.getvalue(),
        "annotations": "\n".join(verdict_annotations(result, None, {})),
    }
    return {form: " ".join(text.split()) for form, text in texts.items()}


@pytest.mark.parametrize(
    ("margin", "graded", "clusters", "name", "caption"),
    [
        (0.0, False, False, "exact McNemar", "the exact McNemar test"),
        (0.0, True, False, "sign-flip permutation", "the sign-flip permutation test"),
        (0.0, False, True, "sign-flip permutation", "the sign-flip permutation test (clustered items)"),
        (
            0.1,
            False,
            False,
            "exact unconditional test at the margin",
            "the exact unconditional test at the margin",
        ),
        (
            0.1,
            True,
            False,
            "score test on the differences at the margin",
            "the score test on the differences at the margin",
        ),
        (
            0.1,
            False,
            True,
            "score test on the differences at the margin",
            "the score test on the differences at the margin (clustered items)",
        ),
    ],
)
def test_every_output_names_the_test_that_gave_the_p_value(
    margin: float, graded: bool, clusters: bool, name: str, caption: str
) -> None:
    result = result_at(margin, graded, clusters)
    (task,) = result.tasks
    assert (task.test, task.independent) == (name, not clusters)
    assert task.tested_by_counts == (not graded and not clusters)
    label = f"{name} (clustered items)" if clusters else name
    for form, text in outputs(result).items():
        if form in ("markdown", "html", "terminal"):
            assert f"one-sided, from {caption}. Over all" in text, form
        else:
            assert (name if form == "json" else label) in text, form
        assert ("exact unconditional" in text) == (name == "exact unconditional test at the margin"), form
        assert ("clustered items" in text) == (clusters and form != "json"), form


@pytest.mark.parametrize("rule", ["omnibus", "pooled", "max", "fisher", "holm"])
def test_no_output_names_mcnemar_for_a_test_at_a_margin(rule: str) -> None:
    result = result_at(0.1)
    for form, text in outputs(result.model_copy(update={"rule": rule})).items():
        assert "McNemar" not in text, form


def test_an_upper_bound_of_the_deciding_p_value_is_marked_everywhere() -> None:
    result = result_at(0.0)
    omnibus = result.aggregate.omnibus.model_copy(update={"p": 1 / 1001, "draws": 1000})
    bound = result.model_copy(
        update={"p_value": 1 / 1001, "aggregate": result.aggregate.model_copy(update={"omnibus": omnibus})}
    )
    assert bound.p_is_bound
    assert not result.p_is_bound  # a single task is exact
    texts = outputs(bound)
    for form in ("markdown", "html", "terminal", "junit"):
        assert "≤ 0.000999" in texts[form], form


@pytest.mark.parametrize("name", ["margin", "no_margin"])
def test_results_of_old_versions_are_read_and_rendered(name: str) -> None:
    result = read_result(OLD / f"{name}.json")
    old = json.loads((OLD / f"{name}.json").read_text(encoding="utf-8"))
    assert [task.independent for task in result.tasks] == [None, None]
    assert [task.detectable_drop for task in result.tasks] == [task["mde"] for task in old["tasks"]]
    assert [flip.prompt for flip in result.flips] == [flip["question"] for flip in old["flips"]]
    assert result.early_stop is not None
    assert result.early_stop.total == 48
    for form in ("markdown", "html", "junit"):
        assert "FAIL" in render(form, result)


def test_what_an_old_result_leaves_open_is_not_claimed() -> None:
    """Old versions named every test at a margin after Tango, so such a name proves neither test nor independence."""
    result = read_result(OLD / "margin.json")
    assert {task.test_label for task in result.tasks} == {"score test at the margin"}
    both = pooled(result)
    assert both is not None
    assert both.interval is None
    exact = read_result(OLD / "no_margin.json")
    assert [task.tested_by_counts for task in exact.tasks] == [True, False]
