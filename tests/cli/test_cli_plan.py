"""gate plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gate.cli.main import main


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


def write_samples(path: Path, right: list[bool]) -> Path:
    rows = (
        {"task": "t", "item_id": f"i{k}", "output": "a" if ok else "b", "target": "a", "correct": ok}
        for k, ok in enumerate(right)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_needed_items_and_detectable_drop_agree_with_the_reference(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("plan", "--n", "1319", "--flip-rate", "0.1", "--drop", "0.02", "--json") == 0
    plan = json.loads(capsys.readouterr().out)["flip rate 0.1"]
    assert plan["tasks"][0]["needed"] == 1629
    assert plan["tasks"][0]["detectable"] == pytest.approx(0.0223, abs=1e-4)


def test_without_a_flip_rate_three_usual_ones_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", "--n", "1000", "--json") == 0
    plans = json.loads(capsys.readouterr().out)
    assert list(plans) == ["flip rate 0.02", "flip rate 0.05", "flip rate 0.1"]
    seen = [plan["detectable"] for plan in plans.values()]
    assert seen == sorted(seen)


def test_two_runs_of_the_baseline_give_the_flip_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write_samples(tmp_path / "a.jsonl", [True] * 70 + [False] * 30)
    again = write_samples(tmp_path / "b.jsonl", [False] * 4 + [True] * 69 + [False] * 27)
    assert run("plan", str(first), str(again), "--json") == 0
    plan = json.loads(capsys.readouterr().out)["flip rates as observed"]
    assert plan["tasks"] == [
        {
            "task": "t",
            "n": 100,
            "flip_rate": 0.07,
            "detectable": plan["tasks"][0]["detectable"],
            "needed": None,
        }
    ]


def test_a_stored_baseline_gives_the_items(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write_samples(tmp_path / "a.jsonl", [True] * 300)
    assert run("plan", str(first), "--flip-rate", "0.05", "--drop", "0.03") == 0
    assert "300" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["plan"], ["plan", "--flip-rate", "0.1", "--drop", "0.2"], ["plan", "--n", "0"]]
)
def test_a_plan_that_cannot_be_made_is_a_usage_error(arguments: list[str]) -> None:
    assert run(*arguments) == 2


@pytest.mark.parametrize("option", ["--alpha", "--power", "--flip-rate", "--drop"])
def test_nan_is_no_number(option: str) -> None:
    assert run("plan", "--n", "100", option, "nan") == 2


def test_repeats_of_an_item_are_not_items(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"task": "t", "item_id": f"i{k}", "repeat": r, "output": "a", "target": "a", "correct": True}
        for k in range(50)
        for r in range(4)
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert run("plan", str(path), "--flip-rate", "0.2", "--json") == 0
    assert json.loads(capsys.readouterr().out)["flip rate 0.2"]["tasks"][0]["n"] == 50
