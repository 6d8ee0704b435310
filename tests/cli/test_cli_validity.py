"""`gate compare` on files that are not comparable, or that could not have shown a loss."""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from support.commands import CommandResult, run_gate


def gate(*arguments: object, cwd: Path) -> CommandResult:
    with chdir(cwd):
        return run_gate(*arguments)


def write(path: Path, scores: list[Any], column: str = "score", **more: list[Any]) -> None:
    rows = [
        {"task": "qa", "item_id": f"i{n}", "output": "x", "target": "x", column: score}
        | {name: values[n] for name, values in more.items()}
        for n, score in enumerate(scores)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_right_and_wrong_against_percent_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [1, 0] * 20)
    write(tmp_path / "b.jsonl", [100, 0] * 20)
    code, _, error = gate("compare", "a.jsonl", "b.jsonl", cwd=tmp_path)
    assert code == 2
    assert "task qa: the scales differ (baseline 0..1, candidate 0..100)" in error


def test_the_same_file_on_both_sides_is_named_first(tmp_path: Path) -> None:
    write(tmp_path / "x.jsonl", [1, 0] * 20)
    code, output, _ = gate("compare", "x.jsonl", "x.jsonl", cwd=tmp_path)
    assert code == 0
    lines = [line for line in output.splitlines() if line.strip()]
    assert lines[1].startswith("Warning: Baseline and candidate are the same file (SHA-256 ")


def test_clusters_of_the_candidate_count(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [1] * 200)
    write(tmp_path / "b.jsonl", [0] * 10 + [1] * 190, cluster=[f"p{max(0, n - 9)}" for n in range(200)])
    code, output, _ = gate("compare", "a.jsonl", "b.jsonl", cwd=tmp_path)
    assert code == 0
    assert "p = 0.5" in output


@pytest.mark.parametrize("option", [(), ("--on-inconclusive", "pass")])
def test_a_baseline_without_a_right_answer_exits_with_3(option: tuple[str, ...], tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [0] * 300)
    write(tmp_path / "b.jsonl", [0] * 300, column="score", prompt=[f"p{n}" for n in range(300)])
    code, output, _ = gate("compare", "a.jsonl", "b.jsonl", *option, cwd=tmp_path)
    assert code == 3
    assert "INCONCLUSIVE" in output
    assert "The baseline is at chance on qa" in output


def test_a_declared_scale_allows_a_margin_on_percentages(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [80.0, 60.0, 70.0] * 20)
    write(tmp_path / "b.jsonl", [80.0, 30.0, 70.0] * 20)
    code, _, error = gate("compare", "a.jsonl", "b.jsonl", "--margin", "0.01", cwd=tmp_path)
    assert code == 2
    assert "declare the range of the scores as the task's `scale: [low, high]`" in error.replace("Declare", "declare")
    config = "version: 1\nbaseline: {model: a}\ncandidate: {model: b}\ntasks:\n- {name: qa, scale: [0, 100]}\n"
    (tmp_path / "gate.yml").write_text(config + "decision: {margin: 0.01}\n")
    code, output, error = gate(
        "compare", "a.jsonl", "b.jsonl", "--config", "gate.yml", "--json", "result.json", cwd=tmp_path
    )
    assert code == 1, output + error
    (task,) = json.loads((tmp_path / "result.json").read_text())["tasks"]
    assert (task["baseline"], task["drop"], task["unit"]) == (pytest.approx(0.7), pytest.approx(0.1), "proportion")


def test_a_score_of_infinity_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [1.5, 0.5])
    (tmp_path / "b.jsonl").write_text((tmp_path / "a.jsonl").read_text().replace("1.5", "1e999"))
    code, _, error = gate("compare", "a.jsonl", "b.jsonl", cwd=tmp_path)
    assert code == 2
    assert "Traceback" not in error
