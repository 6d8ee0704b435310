"""`gate run` with early_stop: a damaged candidate costs a part of the items, an equal one all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny import write_gate_yml, write_tiny_model, write_tiny_task

from gate.cli.main import main
from gate.store import read_sets


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def gate(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(words))
    return int(left.value.code or 0)


def task(name: str, file: str, **more: Any) -> dict[str, Any]:
    prompt = {"prompt": "Q: {{ question }}\nA:", "choices": "{{ choices }}", "answer": "{{ gold }}"}
    return {"name": name, "file": file, **prompt, **more}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tasks whose right answers are the baseline's own: any other model can only get worse."""
    folder = tmp_path_factory.mktemp("early")
    write_tiny_model(folder / "base", seed=0)
    write_tiny_model(folder / "other", seed=5)
    tasks = [
        task("big", "big.jsonl"),
        task("small", "small.jsonl"),
        task("extra", "extra.jsonl", role="advisory"),
    ]
    for name, count in (("big", 160), ("small", 40), ("extra", 12)):
        write_tiny_task(folder / f"{name}.jsonl", count)
    path = write_gate_yml(folder, "base", "base", tasks=tasks)
    assert gate("evaluate", "-c", str(path), "-o", str(folder / "first"), "-q") == 0
    sets = read_sets(folder / "first")
    assert sets is not None
    for name in ("big", "small", "extra"):
        rows = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
        said = dict(
            zip(*(sets.tasks[name].table[key].to_pylist() for key in ("prompt", "output")), strict=True)
        )
        for row in rows:
            row["gold"] = int(said[f"Q: {row['question']}\nA:"])
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def result(folder: Path, candidate: str, **decision: Any) -> tuple[int, dict[str, Any]]:
    tasks = [task(name, f"{name}.jsonl") for name in ("big", "small")]
    tasks.append(task("extra", "extra.jsonl", role="advisory"))
    path = write_gate_yml(folder, "base", candidate, tasks=tasks, decision=decision)
    code = gate("run", "-c", str(path), "-q")
    found: dict[str, Any] = json.loads((folder / "gate-result.json").read_text())
    return code, found


def test_a_damaged_candidate_is_stopped(work: Path) -> None:
    code, found = result(work, "other", early_stop={"alpha": 0.01, "every": 20})
    assert code == 1
    assert found["early_stop"]["stopped"]
    assert found["early_stop"]["of"] == 200
    answered = sum(row["n"] for row in found["tasks"])
    assert answered == found["early_stop"]["items"] < 120
    assert answered % 20 == 0
    assert [row["task"] for row in found["tasks"]] == ["big", "small"]  # the advisory one was never begun
    assert "stopped after" in found["reasons"][0]
    assert any("stopped early after" in note for note in found["notes"])


def test_an_equal_candidate_is_asked_everything_and_the_final_test_has_the_rest(work: Path) -> None:
    code, found = result(work, "base", early_stop={"alpha": 0.01, "every": 20})
    assert code == 0
    assert not found["early_stop"]["stopped"]
    assert [row["n"] for row in found["tasks"]] == [160, 40, 12]
    assert found["alpha"] == pytest.approx(0.04)


def test_the_same_verdict_without_it(work: Path) -> None:
    code, found = result(work, "other")
    assert code == 1
    assert found["early_stop"] is None
    assert sum(row["n"] for row in found["tasks"]) == 212


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        ({"early_stop": {"alpha": 0.05}}, "must be below alpha"),
        ({"early_stop": {}, "margin": 0.01}, "cannot be used with a margin"),
        ({"early_stop": {}, "alpha_spending": {"kind": "lord"}}, "cannot be used together"),
    ],
)
def test_what_it_does_not_go_with(
    work: Path, decision: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_gate_yml(work, "base", "other", decision=decision)
    assert gate("run", "-c", str(path)) == 2
    assert said in capsys.readouterr().err


def test_clusters_are_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = [task("big", "big.jsonl", cluster="gold")]
    path = write_gate_yml(work, "base", "other", tasks=tasks, decision={"early_stop": {}})
    assert gate("run", "-c", str(path)) == 2
    assert "cannot be used with clusters" in capsys.readouterr().err


def test_scores_that_are_not_right_or_wrong_are_refused(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {
        "name": "texts",
        "file": "letters.jsonl",
        "kind": "generate_until",
        "prompt": "{{ question }}",
        "answer": "{{ letter }}",
        "max_tokens": 2,
        "extract": "([a-z ])",
    }
    rows = [json.loads(line) for line in (work / "big.jsonl").read_text().splitlines()][:40]
    (work / "letters.jsonl").write_text("".join(json.dumps({**row, "letter": "a"}) + "\n" for row in rows))
    samples = {"repeats": 4, "temperature": 3.0}
    path = write_gate_yml(work, "base", "other", tasks=[texts], samples=samples, decision={"early_stop": {}})
    assert gate("run", "-c", str(path)) == 2
    assert "early_stop needs binary scores" in capsys.readouterr().err
