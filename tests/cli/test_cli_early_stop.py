"""`gate run` with early_stop: a damaged candidate is stopped early, an equal one is evaluated on all items."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_gate
from support.tiny import (
    TINY_TASK,
    use_outputs_as_targets,
    write_gate_yml,
    write_tiny_model,
    write_tiny_task,
    write_tiny_text_task,
)

from gate.store import read_sets

TASKS = [
    {**TINY_TASK, "name": "big", "file": "big.jsonl"},
    {**TINY_TASK, "name": "small", "file": "small.jsonl"},
    {**TINY_TASK, "name": "extra", "file": "extra.jsonl", "role": "advisory"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """Three tasks whose targets are the outputs of the baseline: any other model can only be worse."""
    folder = tmp_path_factory.mktemp("early")
    (folder / "base").symlink_to(tiny_model)
    write_tiny_model(folder / "other", seed=5)
    for name, count in (("big", 160), ("small", 40), ("extra", 12)):
        write_tiny_task(folder / f"{name}.jsonl", count)
    config = write_gate_yml(folder, "base", "base", tasks=TASKS)
    assert run_gate("evaluate", "-c", config, "-o", folder / "outputs", "-q").code == 0
    sets = read_sets(folder / "outputs")
    assert sets is not None
    for name, samples in sets.tasks.items():
        use_outputs_as_targets(folder / f"{name}.jsonl", samples.table)
    return folder


def run(folder: Path, candidate: str, **decision: Any) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the result of `gate run`."""
    config = write_gate_yml(folder, "base", candidate, tasks=TASKS, decision=decision)
    code = run_gate("run", "-c", config, "-q").code
    result: dict[str, Any] = json.loads((folder / "gate-result.json").read_text())
    return code, result


def last_alpha(folder: Path) -> float:
    """Return the level of the last run in the history."""
    (history,) = folder.rglob("history.jsonl")
    return float(json.loads(history.read_text().splitlines()[-1])["alpha"])


def test_a_damaged_candidate_is_stopped(folder: Path) -> None:
    code, result = run(folder, "other", early_stop={"alpha": 0.01, "every": 20})
    assert code == 1
    assert result["early_stop"]["stopped"]
    assert result["early_stop"]["of"] == 200
    evaluated = sum(task["n"] for task in result["tasks"])
    assert evaluated == result["early_stop"]["items"] < 120
    assert evaluated % 20 == 0
    # the advisory task was not started
    assert [task["task"] for task in result["tasks"]] == ["big", "small"]
    assert "stopped after" in result["reasons"][0]
    assert any("stopped early after" in note for note in result["notes"])
    assert all(task["fails"] == (task["p_adjusted"] <= 0.01) for task in result["tasks"])
    assert last_alpha(folder) == pytest.approx(0.05)


def test_an_equal_candidate_is_evaluated_completely_and_tested_at_the_remaining_alpha(folder: Path) -> None:
    code, result = run(folder, "base", early_stop={"alpha": 0.01, "every": 20})
    assert code == 0
    assert not result["early_stop"]["stopped"]
    assert [task["n"] for task in result["tasks"]] == [160, 40, 12]
    assert result["alpha"] == pytest.approx(0.04)
    assert last_alpha(folder) == pytest.approx(0.05), "the history has the level of the whole run"


def test_without_early_stop_the_verdict_is_the_same(folder: Path) -> None:
    code, result = run(folder, "other")
    assert code == 1
    assert result["early_stop"] is None
    assert sum(task["n"] for task in result["tasks"]) == 212


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        ({"early_stop": {"alpha": 0.05}}, "must be below alpha"),
        ({"early_stop": {}, "margin": 0.01}, "cannot be used with a margin"),
        (
            {"early_stop": {}, "alpha_spending": {"kind": "lord"}},
            "cannot be used together: remove one of them",
        ),
    ],
)
def test_a_conflicting_policy_is_refused(folder: Path, decision: dict[str, Any], message: str) -> None:
    code, _, err = run_gate("run", "-c", write_gate_yml(folder, "base", "other", decision=decision))
    assert code == 2
    assert message in err


def test_clusters_are_refused(folder: Path) -> None:
    tasks = [{**TASKS[0], "cluster": "gold"}]
    config = write_gate_yml(folder, "base", "other", tasks=tasks, decision={"early_stop": {}})
    code, _, err = run_gate("run", "-c", config)
    assert code == 2
    assert "cannot be used with clusters" in err


def test_scores_that_are_not_binary_are_refused(folder: Path) -> None:
    tasks = [write_tiny_text_task(folder, 40)]
    samples = {"repeats": 4, "temperature": 3.0}
    config = write_gate_yml(folder, "base", "other", tasks=tasks, samples=samples, decision={"early_stop": {}})
    code, _, err = run_gate("run", "-c", config)
    assert code == 2
    assert "early_stop needs binary scores" in err
