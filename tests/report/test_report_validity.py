"""What makes an evaluation doubtful stands first in every report, escaped like all other text."""

from __future__ import annotations

import io
import json
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from gate.config import DecisionSettings
from gate.decision import decide
from gate.decision.finding import Finding
from gate.github.annotations import verdict_annotations
from gate.importers.build import task_samples
from gate.report import Result, build_result
from gate.report.attestation import render_statement
from gate.report.html import render_html
from gate.report.junit import render_junit
from gate.report.markdown import render_markdown
from gate.report.result import read_result, to_json
from gate.report.terminal import print_result
from gate.samples import ModelSamples, pair

OLD = Path(__file__).parent / "old_results"
HOSTILE = "<img src=x>\n::error::[a](http://b) @octocat \x1b[31m"


def result_of(tasks: dict[str, tuple[list[float], list[float]]], shared: bool = True) -> Result:
    sides = []
    for side in (0, 1):
        samples = {
            name: task_samples(
                name, "score", {"item_id": [f"i{n}" for n in range(len(scores[0]))], "score": scores[side]}
            )
            for name, scores in tasks.items()
        }
        facts = {
            "weights": ("a" if shared else "ab"[side]) * 64,
            "fingerprint": "f" if shared else "fg"[side],
            "sets": {name: {"task_fingerprint": "1" * 64} for name in tasks},
        }
        sides.append(ModelSamples("m", samples, facts))
    pairing = pair(*sides)
    settings = DecisionSettings(draws=1_000)
    return build_result(decide(pairing.tasks, settings), pairing, *sides, settings, 0, [])


def terminal(result: Result) -> str:
    console = Console(file=io.StringIO(), width=2000, highlight=False)
    print_result(result, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def texts(result: Result) -> dict[str, str]:
    return {
        "markdown": unescape(render_markdown(result)).replace("<code>", "").replace("</code>", ""),
        "html": unescape(render_html(result)),
        "terminal": terminal(result),
        "junit": unescape(render_junit(result)),
        "attestation": render_statement(result),
        "annotations": "\n".join(verdict_annotations(result, None, {})),
        "json": to_json(result),
    }


RIGHT = [1.0] * 40 + [0.0] * 10


def test_a_warning_stands_before_the_reasons_in_every_report() -> None:
    result = result_of({"qa": (RIGHT, RIGHT)})
    assert result.verdict == "PASS"
    (warning,) = result.warnings
    for form, text in texts(result).items():
        assert "Baseline and candidate are the same model" in text, form
        if form not in ("attestation", "json", "annotations"):
            start = text.index("same model")
            assert start < text.index("No significant drop"), form
    assert json.loads(to_json(result))["validity"] == [
        {"kind": "same-model", "task": None, "message": warning.message, "blocks": False}
    ]


def test_a_blocking_finding_is_the_reason_in_every_report() -> None:
    result = result_of({"qa": ([0.0] * 50, [0.0] * 50)}, shared=False)
    assert (result.verdict, result.exit_code, result.warnings) == ("INCONCLUSIVE", 3, [])
    for form, text in texts(result).items():
        assert "The baseline is at chance on qa" in text, form
    cases = {case.get("name"): case for case in ElementTree.fromstring(render_junit(result)).iter("testcase")}
    assert cases["qa"].find("skipped") is not None
    assert cases["decision"].find("failure") is not None
    predicate = json.loads(render_statement(result))["predicate"]
    assert (predicate["result"], predicate["warnedTests"], predicate["failedTests"]) == ("FAILED", ["qa"], ["decision"])


def test_findings_are_escaped() -> None:
    result = result_of({"qa": (RIGHT, RIGHT)})
    finding = Finding(kind="gain", task="qa", message=f"better on {HOSTILE}")
    hostile = result.model_copy(update={"validity": [finding]})
    assert "<img" not in render_markdown(hostile)
    assert "<img" not in render_html(hostile)
    assert "@octocat" not in render_markdown(hostile)
    assert "\x1b[31m" not in terminal(hostile) + render_junit(hostile)
    assert "\n::error" not in terminal(hostile)
    ElementTree.fromstring(render_junit(hostile))
    assert all(len(line.splitlines()) == 1 for line in verdict_annotations(hostile, None, {}))


def test_a_report_with_many_warnings_fits_its_limit() -> None:
    result = result_of({"qa": (RIGHT, RIGHT)})
    findings = [Finding(kind="gain", task=f"t{n}", message=f"better on t{n} " + "x" * 300) for n in range(500)]
    text = render_markdown(result.model_copy(update={"validity": findings}), limit=20_000)
    assert len(text.encode()) <= 20_000
    assert "of 500 warnings" in text
    assert len(verdict_annotations(result.model_copy(update={"validity": findings}), None, {})) == 4


@pytest.mark.parametrize("name", ["margin", "no_margin"])
def test_results_of_old_versions_have_no_findings_and_scores_from_0_to_1(name: str) -> None:
    result = read_result(OLD / f"{name}.json")
    assert result.validity == []
    assert {task.unit for task in result.tasks} == {"proportion"}


def test_scores_of_unknown_range_have_no_percent_and_no_points() -> None:
    ratings = ([7.0, 8.5, 9.0] * 20, [7.0, 8.0, 9.0] * 20)
    result = result_of({"ratings": ratings}, shared=False)
    row = result.tasks[0]
    low, high = row.drop_ci90
    assert (row.unit, row.baseline) == ("score", pytest.approx(8.1667, abs=1e-4))
    for form in ("terminal", "markdown", "junit"):
        text = texts(result)[form]
        assert "8.167" in text, form
        assert f"+0.167 ({low:+.3g} to {high:+.3g}) score units" in text, form
        assert "816" not in text, form
        assert "+16.67" not in text, form
    html = render_html(result)
    assert "8.167" in html
    assert "score units" in html
    assert "816" not in html
