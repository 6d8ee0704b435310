"""`gate run` with nightly e-values: the history accumulates the evidence of its runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import run_gate
from support.tiny import TINY_TASK, write_gate_yml, write_tiny_model, write_tiny_task

TASKS = [{**TINY_TASK, "name": "a", "file": "a.jsonl"}, {**TINY_TASK, "name": "b", "file": "b.jsonl"}]


def night(folder: Path, candidate: str) -> dict[str, Any]:
    spending = {"kind": "evalue", "runs": 10}
    config = write_gate_yml(folder, "base", candidate, tasks=TASKS, decision={"alpha_spending": spending})
    assert run_gate("run", "-c", config, "-q").code in (0, 1, 3)  # tiny models may be at chance
    result: dict[str, Any] = json.loads((folder / "gate-result.json").read_text())
    return result


def test_runs_accumulate_evidence_and_other_items_are_fresh(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "base").symlink_to(tiny_model)
    write_tiny_model(tmp_path / "other", seed=5)
    for name, count in (("a", 60), ("b", 30)):
        write_tiny_task(tmp_path / f"{name}.jsonl", count)
    first, second = night(tmp_path, "base"), night(tmp_path, "other")
    assert first["spending"]["evidence"]["log_e_value"] == 0.0  # no flips
    evidence = second["spending"]["evidence"]
    assert (evidence["run_of_group"], evidence["log_sum"]) == (2, 0.0)
    total = np.logaddexp(0.0, evidence["log_e_value"]) - np.log(10)
    assert evidence["log_evidence"] == pytest.approx(total)
    assert second["p_value"] == pytest.approx(min(1.0, np.exp(-total)))
    assert (second["verdict"] == "FAIL") == (second["p_value"] <= 0.05)
    records = [json.loads(line) for line in (tmp_path / ".gate" / "history.jsonl").read_text().splitlines()]
    assert [record["evidence"]["planned_runs"] for record in records] == [10, 10]
    assert records[0]["series"] == records[1]["series"]

    for name in ("a", "b"):
        lines = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        fresh = [json.dumps({**json.loads(line), "id": f"fresh {number}"}) for number, line in enumerate(lines)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(fresh) + "\n")
    third = night(tmp_path, "other")
    if second["verdict"] != "FAIL":
        assert third["spending"]["evidence"]["run_of_group"] == 1
        assert third["spending"]["evidence"]["log_carried"] == pytest.approx(total)
    assert third["spending"]["run"] == 3
    shown = run_gate("history", "--store", tmp_path / ".gate")
    assert "at most 0.015 false alarms" in " ".join(shown.out.split())
