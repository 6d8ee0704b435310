"""An interrupted run resumes at the task that it had reached; a finished run starts again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_gate
from support.tiny import TINY_TASK, edit_gate_yml, write_gate_yml, write_tiny_task

from gate.evaluation.evaluate import TaskEvaluation
from gate.store import SampleSet


@pytest.fixture
def config(tmp_path: Path, tiny_model: Path) -> Path:
    """A gate.yml with two tasks and the same model on both sides."""
    tasks = []
    for name, count in (("first", 40), ("second", 48)):
        write_tiny_task(tmp_path / f"{name}.jsonl", count)
        tasks.append({**TINY_TASK, "name": name, "file": f"{name}.jsonl"})
    return write_gate_yml(tmp_path, str(tiny_model), str(tiny_model), tasks=tasks)


def test_tasks_finished_before_an_interrupt_are_not_evaluated_again(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_gate("baseline", "-c", config).code == 0
    run = TaskEvaluation.run

    def interrupted(evaluation: TaskEvaluation, *arguments: Any) -> SampleSet:
        if evaluation.task.name == "second":
            raise KeyboardInterrupt
        return run(evaluation, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(TaskEvaluation, "run", interrupted)
        assert run_gate("run", "-c", config).code == 130
    code, _, err = run_gate("run", "-c", config)
    assert code == 0
    assert "first-" in err
    assert err.count("already complete, from the interrupted run") == 1
    # the last run was not interrupted, so the candidate is evaluated again
    code, _, err = run_gate("run", "-c", config)
    assert code == 0
    assert "already complete" not in err
    assert not list((config.parent / ".gate").rglob("*.running"))


def test_a_cached_baseline_without_the_needed_distributions_is_evaluated_again(config: Path) -> None:
    edit_gate_yml(config.parent, distance={"kl": False})
    assert run_gate("run", "-c", config).code == 0
    edit_gate_yml(config.parent, distance={"kl": True, "max_kl": 0.1})
    code, _, err = run_gate("run", "-c", config)
    assert code == 0
    assert "stores fewer distributions than `distance` asks for" in err
    assert json.loads((config.parent / "gate-result.json").read_text())["tasks"][0]["kl_mean"] < 1e-3
    assert "fewer distributions" not in run_gate("run", "-c", config).err


def test_more_texts_than_the_cached_baseline_measured_need_a_new_one(config: Path) -> None:
    text = {"name": "say", "kind": "generate_until", "choices": None, "answer": "{{ gold }}", "max_tokens": 3}
    edit_gate_yml(config.parent, tasks=[{**TINY_TASK, **text, "file": "first.jsonl"}])
    measured = []
    for texts in (5, 4, 100, 90):
        edit_gate_yml(config.parent, distance={"kl_texts": texts, "max_kl": 0.1})
        err = run_gate("run", "-c", config).err
        positions = json.loads((config.parent / "gate-result.json").read_text())["tasks"][0]["behaviour"]
        measured.append((positions["divergences"]["positions"], "stores fewer distributions" in err))
    few, same, every, kept = measured
    assert few[0] <= 5 * 3 < every[0]
    assert (few[1], same) == (False, few)
    assert (every[1], kept) == (True, (every[0], False))


def test_shards_of_a_task_share_a_folder(config: Path) -> None:
    shards, merged = config.parent / "shards", config.parent / "merged"
    for shard in ("1/2", "2/2"):
        assert run_gate("evaluate", "-c", config, "-o", shards, "--shard", shard, "-q").code == 0
    assert run_gate("merge", shards, "-o", merged).code == 0
    assert {path.name for path in merged.iterdir() if path.is_dir()} == {"first", "second"}
