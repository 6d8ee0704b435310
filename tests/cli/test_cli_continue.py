"""An interrupted run resumes at the task it had reached; a finished run starts again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from support.tiny import write_gate_yml, write_tiny_task

from gate.cli.main import main
from gate.engines import Progress
from gate.evaluation.evaluate import TaskEvaluation
from gate.store import SampleSet


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


TASK = {"prompt": "Q: {{ question }}\nA:", "choices": "{{ choices }}", "answer": "{{ gold }}"}


@pytest.fixture
def project(tmp_path: Path, tiny_model: Path) -> Path:
    shutil.copytree(tiny_model, tmp_path / "base")
    tasks = []
    for name, count in (("first", 10), ("second", 12)):
        write_tiny_task(tmp_path / f"{name}.jsonl", count)
        tasks.append({"name": name, "file": f"{name}.jsonl", **TASK})
    write_gate_yml(tmp_path, "base", "base", tasks=tasks)
    return tmp_path


def gate(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        main(list(words))
    return int(left.value.code or 0), capsys.readouterr().err


def test_tasks_that_were_finished_before_an_interrupt_are_not_evaluated_again(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(project / "gate.yml")
    assert gate(capsys, "baseline", "-c", path)[0] == 0
    run = TaskEvaluation.run

    def interrupted(evaluation: TaskEvaluation, progress: Progress) -> SampleSet:
        if evaluation.task.name == "second":
            raise KeyboardInterrupt
        return run(evaluation, progress)

    with monkeypatch.context() as patch:
        patch.setattr(TaskEvaluation, "run", interrupted)
        assert gate(capsys, "run", "-c", path)[0] == 130
    code, err = gate(capsys, "run", "-c", path)
    assert code == 0
    assert "first-" in err
    assert err.count("already complete, from the interrupted run") == 1
    code, err = gate(
        capsys, "run", "-c", path
    )  # nothing was interrupted: a candidate is always evaluated again
    assert code == 0
    assert "already complete" not in err
    assert not list((project / ".gate").rglob("*.running"))


def test_a_cached_baseline_without_the_needed_distributions_is_evaluated_again(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = [{"name": "first", "file": "first.jsonl", **TASK}]
    path = str(write_gate_yml(project, "base", "base", tasks=tasks, distance={"kl": False}))
    key = gate(capsys, "run", "-c", path)
    write_gate_yml(project, "base", "base", tasks=tasks, distance={"kl": True, "max_kl": 0.1})
    code, err = gate(capsys, "run", "-c", path)
    assert key[0] == code == 0
    assert "stores fewer tokens than distance.kl_top asks for" in err
    assert json.loads((project / "gate-result.json").read_text())["tasks"][0]["kl_mean"] < 1e-3
    assert "fewer tokens" not in gate(capsys, "run", "-c", path)[1]


def test_shards_of_a_task_share_a_folder(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = str(project / "gate.yml"), str(project / "shards")
    for shard in ("1/2", "2/2"):
        assert gate(capsys, "evaluate", "-c", path, "-o", out, "--shard", shard, "-q")[0] == 0
    assert gate(capsys, "merge", out, "-o", str(project / "whole"))[0] == 0
    assert {one.name for one in (project / "whole").iterdir() if one.is_dir()} == {"first", "second"}
