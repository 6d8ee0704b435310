"""The policy of a task in `gate run`, on tiny models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_gate
from support.tiny import TINY_TASK, write_gate_yml
from test_cli_run import make_baseline_right


def result(project: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project / "gate-result.json").read_text(encoding="utf-8"))
    return found


def test_the_policy_of_a_task_decides_and_costs_no_new_baseline(project: Path) -> None:
    make_baseline_right(project)
    write_gate_yml(project, "base", "other")
    assert run_gate("run").code == 1
    assert result(project)["tasks"][0]["drop"] > 0.1

    tolerant = {"margin": 0.9, "max_flip_rate": 1.0}
    write_gate_yml(project, "base", "other", tasks=[{**TINY_TASK, **tolerant}])
    code, _, err = run_gate("run")
    assert code == 0
    assert "baseline base: 1 task(s) from the cache" in err
    assert result(project)["provenance"]["tasks"]["animals"].items() >= tolerant.items()

    write_gate_yml(project, "base", "other", tasks=[{**TINY_TASK, **tolerant, "min_recovery": 0.99, "max_kl": 1e-9}])
    assert run_gate("run").code == 1
    found = result(project)
    exceeded = {limit["kind"] for limit in found["tasks"][0]["limits"] if limit["exceeded"]}
    assert exceeded == {"min_recovery", "max_kl"}
    assert found["reasons"][0].startswith("No significant drop beyond the margin (p = ")


@pytest.mark.parametrize(
    ("policy", "sections"),
    [
        ({}, {}),
        ({"metric": "acc_smooth"}, {"samples": {"seed": 7}}),
        ({"margin": 0.5, "min_recovery": 0.4}, {"decision": {"rule": "holm", "alpha": 0.2, "certify": 0.3}}),
        ({"margin": 0.9}, {"distance": {"max_kl": 1e-6}}),
    ],
    ids=["default", "smoothed", "margins", "limit"],
)
def test_files_get_the_verdict_of_the_run_by_the_same_policy(
    project: Path, policy: dict[str, Any], sections: dict[str, Any]
) -> None:
    make_baseline_right(project)
    path = write_gate_yml(project, "base", "other", tasks=[{**TINY_TASK, **policy}], **sections)
    ran = run_gate("run")
    folders = [next((project / ".gate" / side).iterdir()) for side in ("baseline", "candidate")]
    compared = run_gate("compare", *folders, "--config", path, "--json", "-")
    assert compared.code == ran.code in (0, 1, 3)
    other = json.loads(compared.out)
    for key in ("verdict", "p_value", "reasons", "tasks", "aggregate", "certification", "sensitivity", "flips"):
        assert other[key] == result(project)[key], key


def test_margins_of_tasks_belong_to_the_series_of_runs(project: Path) -> None:
    for margin in (None, None, 0.99):
        write_gate_yml(
            project, "base", "other", tasks=[{**TINY_TASK, **({} if margin is None else {"margin": margin})}]
        )
        code, _, err = run_gate("run")
        assert code in (0, 1, 3), err
    lines = (project / ".gate" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    series = [json.loads(line)["series"] for line in lines]
    assert series[0] == series[1] != series[2]
