"""`gate plan`: the detectable drop, and the number of items that a drop needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.commands import run_gate
from support.jsonl import write_jsonl
from test_cli_files import write_csv


def write_samples(path: Path, correct: list[bool], repeats: int = 1) -> Path:
    return write_jsonl(
        path,
        [
            {
                "task": "t",
                "item_id": f"i{item}",
                "repeat": repeat,
                "output": "a" if value else "b",
                "target": "a",
                "correct": value,
            }
            for item, value in enumerate(correct)
            for repeat in range(repeats)
        ],
    )


def plans(*arguments: object) -> dict[str, Any]:
    """Return what `gate plan --json` prints."""
    code, out, err = run_gate("plan", *arguments, "--json")
    assert code == 0, err
    data: dict[str, Any] = json.loads(out)
    return data


def test_needed_items_and_detectable_drop_agree_with_the_reference() -> None:
    # 8 % noise and a drop of 2 points are 10 % flips: n = 1,629
    plan = plans("--n", 1000, "--flip-rate", 0.08, "--drop", 0.02)["flip rate 0.08"]
    assert plan["tasks"][0]["needed"] == plan["needed"] == 1629
    audited = plans("--n", 1000, "--flip-rate", 0.02)["flip rate 0.02"]
    assert audited["tasks"][0]["detectable"] == audited["detectable"] == pytest.approx(0.0153, abs=1e-4)


def test_three_usual_flip_rates_are_the_default() -> None:
    data = plans("--n", 1000)
    assert list(data) == ["flip rate 0.02", "flip rate 0.05", "flip rate 0.1"]
    drops = [plan["detectable"] for plan in data.values()]
    assert drops == sorted(drops)


def test_the_flip_rate_is_taken_from_two_runs_of_the_baseline(tmp_path: Path) -> None:
    first = write_samples(tmp_path / "a.jsonl", [True] * 70 + [False] * 30)
    second = write_samples(tmp_path / "b.jsonl", [False] * 4 + [True] * 69 + [False] * 27)
    plan = plans(first, second)["flip rates as observed"]
    detectable = plan["tasks"][0]["detectable"]
    row = {"task": "t", "n": 100, "flip_rate": 0.07, "detectable": detectable, "needed": None}
    assert plan["tasks"] == [{**row, "role": "gating", "margin": 0.0}]


def test_the_number_of_items_is_taken_from_a_stored_baseline(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "a.jsonl", [True] * 300)
    code, out, _ = run_gate("plan", samples, "--flip-rate", 0.05, "--drop", 0.03)
    assert code == 0
    assert "300" in out


def test_repeats_of_an_item_count_as_one_item(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "a.jsonl", [True] * 50, repeats=4)
    assert plans(samples, "--flip-rate", 0.2)["flip rate 0.2"]["tasks"][0]["n"] == 50


def test_the_needed_items_are_those_of_the_rule_that_decides(tmp_path: Path) -> None:
    """Three tasks under the omnibus need more than their pooled flips alone."""
    rows = [
        {"task": f"t{task}", "item_id": f"i{item}", "output": "a", "target": "a", "correct": item % 4 > 0}
        for task in range(3)
        for item in range(300)
    ]
    samples = write_jsonl(tmp_path / "a.jsonl", rows)
    needed = {
        rule: plans(samples, "--flip-rate", 0.05, "--drop", 0.015, "--rule", rule)["flip rate 0.05"]["needed"]
        for rule in ("omnibus", "pooled", "holm")
    }
    assert needed["pooled"] < needed["omnibus"] < needed["holm"]
    single = plans("--n", 900, "--flip-rate", 0.05, "--drop", 0.015)["flip rate 0.05"]["needed"]
    assert needed["pooled"] == pytest.approx(single, rel=0.04)


def test_a_margin_raises_the_needed_items_and_a_drop_within_it_is_wrong_usage() -> None:
    plain = plans("--n", 1000, "--flip-rate", 0.05, "--drop", 0.02)["flip rate 0.05"]
    tolerant = plans("--n", 1000, "--flip-rate", 0.05, "--drop", 0.02, "--margin", 0.01)["flip rate 0.05"]
    assert tolerant["needed"] > 2 * plain["needed"]
    assert tolerant["detectable"] > plain["detectable"] + 0.008
    assert run_gate("plan", "--n", 1000, "--flip-rate", 0.05, "--drop", 0.01, "--margin", 0.01).code == 2


def test_graded_scores_of_two_runs_are_planned(tmp_path: Path) -> None:
    def write(name: str, scores: list[float]) -> Path:
        same = {"task": "t", "output": "a", "target": "b", "metric": "rouge"}
        rows = [{**same, "item_id": f"i{n}", "score": score} for n, score in enumerate(scores)]
        return write_jsonl(tmp_path / name, rows)

    first = write("a.jsonl", [0.5, 0.75] * 200)
    second = write("b.jsonl", [0.75, 0.5] * 40 + [0.5, 0.75] * 160)
    plan = plans(first, second, "--drop", 0.02)["flip rates as observed"]
    assert 0.005 < plan["detectable"] < 0.03
    assert 100 < plan["needed"] < 1000


@pytest.mark.parametrize("arguments", [[], ["--flip-rate", "0.9", "--drop", "0.2"], ["--n", "0"]], ids=str)
def test_missing_or_zero_items_are_wrong_usage(arguments: list[str]) -> None:
    assert run_gate("plan", *arguments).code == 2


@pytest.mark.parametrize("option", ["--alpha", "--power", "--flip-rate", "--drop"])
def test_nan_is_wrong_usage(option: str) -> None:
    assert run_gate("plan", "--n", 100, option, "nan").code == 2


def test_the_same_prompts_in_two_tasks_are_planned_as_one_task(tmp_path: Path) -> None:
    """20 flips in 500 prompts, asked in both tasks: the drop that one task detects, not the 2.08 points of 1,000 items."""
    sides = []
    for side in (0, 1):
        scores = [1 - side] * 10 + [side] * 10 + [1] * 390 + [0] * 90
        rows = [f"{task},{task}{n},x,x,{score},p{n}" for task in ("a", "b") for n, score in enumerate(scores)]
        path = tmp_path / f"{side}.csv"
        path.write_text("\n".join(["task,item_id,output,target,score,prompt", *rows]) + "\n", encoding="utf-8")
        sides.append(path)
    alone = plans("--n", 500, "--flip-rate", 0.04)["flip rate 0.04"]["detectable"]
    for plan in (plans(*sides)["flip rates as observed"], plans(sides[0], "--flip-rate", 0.04)["flip rate 0.04"]):
        assert plan["detectable"] == pytest.approx(alone, abs=0.001)
        assert plan["tasks"][0]["detectable"] == pytest.approx(alone, abs=0.001)


def test_copies_of_one_prompt_detect_nothing(tmp_path: Path) -> None:
    path = tmp_path / "b.csv"
    rows = [f"t,i{n},x,x,1,same" for n in range(300)]
    path.write_text("\n".join(["task,item_id,output,target,score,prompt", *rows]) + "\n", encoding="utf-8")
    assert plans(path, "--flip-rate", 0.05)["flip rate 0.05"]["detectable"] is None


MODELS = {"baseline": {"model": "org/a"}, "candidate": {"model": "org/b"}}


def write_config(folder: Path, tasks: list[Any], **sections: Any) -> Path:
    path = folder / "gate.yml"
    path.write_text(yaml.safe_dump({"version": 1, **MODELS, "tasks": tasks, **sections}), encoding="utf-8")
    return path


def test_a_gate_yml_gives_the_policy_and_options_replace_its_keys(tmp_path: Path) -> None:
    path = write_config(
        tmp_path,
        ["arc"],
        decision={"alpha": 0.01, "power": 0.9, "rule": "holm", "margin": 0.005},
    )
    given = ["--n", 1000, "--flip-rate", 0.05, "--drop", 0.02]
    policy = ["--alpha", 0.01, "--power", 0.9, "--rule", "holm"]
    by_file = plans(*given, "--config", path)
    assert by_file == plans(*given, *policy, "--margin", 0.005)
    (plan,) = by_file.values()
    assert (plan["alpha"], plan["power"], plan["rule"], plan["tasks"][0]["margin"]) == (0.01, 0.9, "holm", 0.005)
    assert plans(*given, "-c", path, "--margin", 0) == plans(*given, *policy)
    assert "detected with 90% power" in run_gate("plan", *given, "-c", path).out


def test_roles_and_margins_of_tasks_are_planned_for(tmp_path: Path) -> None:
    scores = {"arc": [1] * 150 + [0] * 50, "faq": [1] * 100 + [0] * 100, "law": [1] * 90, "not in the file": [1] * 50}
    first = write_csv(tmp_path / "a.csv", scores)
    scores = {**scores, "arc": [0] * 4 + [1] * 150 + [0] * 46, "faq": [1] * 96 + [0] * 104}
    second = write_csv(tmp_path / "b.csv", scores)
    path = write_config(tmp_path, [{"name": "arc", "margin": 0.02}, {"name": "law", "role": "advisory"}, "faq"])
    (tmp_path / "gating").mkdir()
    only = write_config(tmp_path / "gating", [{"name": "arc", "margin": 0.02}, "faq"])
    for samples in ([first, "--flip-rate", 0.05], [first, second]):
        (plan,) = plans(*samples, "-c", path, "--drop", 0.03).values()
        rows = [(row["task"], row["role"], row["margin"]) for row in plan["tasks"]]
        assert rows == [("arc", "gating", 0.02), ("law", "advisory", 0.0), ("faq", "gating", 0.0)]
        (gating,) = plans(*samples, "-c", only, "--drop", 0.03).values()
        assert {key: value for key, value in plan.items() if key != "tasks"} == {
            key: value for key, value in gating.items() if key != "tasks"
        }
    out = run_gate("plan", first, second, "-c", path).out
    assert "law (advisory)" in out
    assert [line.split("\u2502")[2].strip() for line in out.splitlines() if "whole decision" in line] == ["400"]


def test_a_policy_that_does_not_fit_the_samples_is_wrong_usage(tmp_path: Path) -> None:
    samples = write_csv(tmp_path / "a.csv", {"arc": [1] * 80})
    cases: dict[str, tuple[list[Any], list[Any]]] = {
        "the baseline lacks tasks": (["arc", "faq"], []),
        "the drop 0.01 is not above the margin 0.02": ([{"name": "arc", "margin": 0.02}], ["--drop", 0.01]),
    }
    for message, (tasks, options) in cases.items():
        code, _, err = run_gate("plan", samples, "-c", write_config(tmp_path, tasks), "--flip-rate", 0.05, *options)
        assert (code, message in err) == (2, True), err


def test_scores_that_are_no_proportions_need_a_second_run(tmp_path: Path) -> None:
    def write(name: str, shift: float) -> Path:
        rows = [f"mc,{n},x,x,{n % 2}" for n in range(100)] + [f"notes,{n},x,x,{-2 - shift * n}" for n in range(40)]
        path = tmp_path / name
        path.write_text("\n".join(["task,item_id,output,target,score", *rows]) + "\n", encoding="utf-8")
        return path

    first, second = write("a.csv", 0.01), write("b.csv", 0.011)
    path = write_config(tmp_path, ["mc", {"name": "notes", "lower_is_better": False}])
    alone = run_gate("plan", first, "-c", path)
    assert (alone.code, "not proportions: notes" in alone.err) == (2, True), alone.err
    assert [task["task"] for task in plans(first, second, "-c", path)["flip rates as observed"]["tasks"]] == [
        "mc",
        "notes",
    ]
    advisory = write_config(tmp_path, ["mc", {"name": "notes", "lower_is_better": False, "role": "advisory"}])
    assert [task["task"] for task in plans(first, "-c", advisory)["flip rate 0.02"]["tasks"]] == ["mc"]


def test_judged_tasks_are_refused_by_the_planner(tmp_path: Path) -> None:
    samples = write_csv(tmp_path / "a.csv", {"chat": [1] * 80})
    judge = {"kind": "judge", "base_url": "http://localhost:9/v1", "model": "j"}
    task = {"name": "chat", "file": "f.jsonl", "kind": "generate_until", "prompt": "{{ q }}", "scorer": judge}
    refused = run_gate("plan", samples, "-c", write_config(tmp_path, [task]))
    assert (refused.code, "a judge compares two models" in refused.err) == (2, True), refused.err


def test_the_baseline_of_a_gate_yml_is_taken_from_its_store(project: Path) -> None:
    missing = run_gate("plan", "-c", "gate.yml")
    assert missing.code == 2
    assert "Run `gate baseline` first" in missing.err
    stored = run_gate("baseline", "--quiet").out.strip()
    assert plans("-c", "gate.yml") == plans(stored)
