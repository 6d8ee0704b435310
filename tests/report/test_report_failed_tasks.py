"""Every output marks the same tasks as failed, and none inside a PASS."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.binary_results import answers, result_of

from gate.config import DistanceSettings
from gate.decision import decide
from gate.github.annotations import verdict_annotations
from gate.github.status import status_description
from gate.report import Result, print_result, read_result
from gate.report.attestation import render_statement
from gate.report.html import render_html
from gate.report.junit import render_junit
from gate.report.markdown import render_markdown

OLD = Path(__file__).parent / "old_results"


def attestable(result: Result) -> Result:
    sets = {task.task: {"task_fingerprint": "1" * 64} for task in result.tasks}
    facts = {"weights": "a" * 64, "sets": sets}
    return result.model_copy(
        update={"baseline": {**result.baseline, **facts}, "candidate": {**result.candidate, **facts}}
    )


def marked(result: Result) -> dict[str, list[str]]:
    """Return the tasks that each output marks as failed."""
    names = [task.task for task in result.tasks]
    console = Console(file=io.StringIO(), width=200, highlight=False)
    print_result(result, console)
    assert isinstance(console.file, io.StringIO)
    terminal = console.file.getvalue()
    markdown, html = render_markdown(result), render_html(result)
    junit = render_junit(result)
    statement = json.loads(render_statement(attestable(result)))
    annotations = verdict_annotations(result, None, {})
    html_rows = re.findall(r'data-v="(\w+)"><b>\w+</b><small>acc([^<]*)</small></th>(.*?)</tr>', html, re.DOTALL)
    return {
        "decision": [task.task for task in result.failed_tasks],
        "reasons": [name for name in names if any(name in reason for reason in result.reasons)],
        "terminal": [name for name in names if f"{name} (fails)" in terminal],
        "markdown": [name for name in names if f"<code>{name}</code> (fails)" in markdown],
        "htmltext": [name for name, text, _ in html_rows if ", fails" in text],
        "htmldot": [name for name, _, row in html_rows if 'class="strip significant"' in row],
        "junit": re.findall(r'<failure[^>]*message="(\w+): ', junit),
        "attestation": [name for name in statement["predicate"]["failedTests"] if name != "decision"],
        "annotations": [name for name in names if any(f"{name} is worse" in line for line in annotations)],
    }


def everywhere(names: list[str]) -> dict[str, list[str]]:
    outputs = "decision reasons terminal markdown htmltext htmldot junit attestation annotations"
    return {output: list(names) for output in outputs.split()}


def test_a_task_that_only_holm_rejects_is_not_marked_inside_a_pass() -> None:
    """22 worse, 8 better beside five tasks of 10 worse, 12 better."""
    tasks = {"bad": answers(22, 8, 200), **{f"quiet{n}": answers(10, 12, 200) for n in range(5)}}
    result = result_of(tasks)
    assert result.verdict == "PASS"
    assert result.tasks[0].p_holm is not None
    assert result.tasks[0].p_holm < 0.05
    assert marked(result) == everywhere([])
    assert "its own" not in status_description(result)


@pytest.mark.parametrize("rule", ["omnibus", "pooled", "max", "fisher", "holm"])
def test_all_outputs_mark_the_same_tasks(rule: str) -> None:
    tasks = {"worse": answers(40, 8, 200), "lost": answers(30, 5, 200), "same": answers(11, 10, 200)}
    result = result_of(tasks, settings={"rule": rule})
    assert result.verdict == "FAIL"
    assert marked(result) == everywhere(["worse", "lost"])
    assert all(task.p_adjusted is not None and task.p_adjusted >= result.p_value for task in result.tasks)


def test_a_limit_marks_no_task() -> None:
    """One task is significant after Holm's adjustment, but only the limit fails the candidate."""
    tasks = {"bad": answers(22, 8, 200), **{f"quiet{n}": answers(10, 12, 200) for n in range(5)}}
    base = result_of(tasks)
    limited = _decided(tasks, DistanceSettings(max_flip_rate=0.05))
    assert limited["verdict"] == "FAIL"
    result = base.model_copy(update=limited)
    assert marked(result) == everywhere([])


def _decided(tasks: dict[str, tuple[list[bool], list[bool]]], distance: DistanceSettings) -> dict[str, Any]:
    from support.binary_results import answered

    from gate.config import DecisionSettings
    from gate.samples import ModelSamples, pair

    sides = [
        ModelSamples("m", {name: answered(name, scores[side]) for name, scores in tasks.items()}) for side in (0, 1)
    ]
    return dict(decide(pair(*sides).tasks, DecisionSettings(draws=10_000), distance))


def test_an_advisory_task_is_never_marked() -> None:
    tasks = {"worse": answers(40, 8, 200), "watched": answers(60, 5, 200)}
    result = result_of(tasks, roles={"watched": "advisory"})
    assert marked(result) == everywhere(["worse"])
    assert result.tasks[1].p_adjusted is None


@pytest.mark.parametrize("name", ["margin", "no_margin"])
def test_results_of_old_versions_mark_what_holm_rejected_inside_a_fail(name: str) -> None:
    result = read_result(OLD / f"{name}.json")
    assert [task.fails for task in result.tasks] == [None, None]
    assert [task.task for task in result.failed_tasks] == ["facts"]
    assert result.model_copy(update={"verdict": "PASS"}).failed_tasks == []
    by_limit = result.model_copy(update={"p_value": 0.5})
    assert by_limit.failed_tasks == [], "only a limit failed the candidate"
