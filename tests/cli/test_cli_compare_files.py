"""`gate compare` on files of other tools: what it reads, leaves out, pairs and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_gate
from support.harness_files import choice_rows, perplexity_rows, summary, write

import gate


def table(path: Path, scores: list[float], metric: str = "perplexity", ids: str = "{}") -> Path:
    rows = [f"wiki,{ids.format(item)},x,x,{metric},{score}" for item, score in enumerate(scores)]
    path.write_text("\n".join(["task,item_id,output,target,metric,score", *rows]), encoding="utf-8")
    return path


def compared(*arguments: object) -> dict[str, Any]:
    """Return the JSON result, with the lines of standard error as `lines`."""
    code, out, err = run_gate("compare", *arguments, "--json", "-")
    result: dict[str, Any] = json.loads(out)
    assert result["exit_code"] == code
    return result | {"lines": err.splitlines()}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs of sums, which gets worse, and of a corpus score and a perplexity, which cannot be compared with it."""
    sides = tmp_path / "base", tmp_path / "cand"
    for side, right in zip(sides, (40, 20), strict=True):
        write(side / "samples_sums.jsonl", choice_rows(40, right))
        write(side / "samples_bleu.jsonl", choice_rows(topic="b", metrics=["bleu"], bleu=["x", "y"]))
        write(side / "samples_wiki.jsonl", perplexity_rows(-130.0 - right))
        write(side / "results.json", summary(side.name, "sums", "bleu", "wiki"))
    return sides


def test_a_higher_perplexity_is_worse(tmp_path: Path) -> None:
    low, high = (
        table(tmp_path / f"{name}.csv", [value + i % 7 for i in range(40)]) for name, value in (("a", 10), ("b", 15))
    )
    worse, better = compared(low, high), compared(high, low)
    assert (worse["verdict"], better["verdict"]) == ("FAIL", "PASS")
    assert worse["tasks"][0]["regressions"] == better["tasks"][0]["improvements"] == 40
    assert "wiki: lower values of perplexity are better, so its sign is changed: -perplexity." in worse["notes"]


def test_the_direction_of_an_unknown_metric_is_an_option(tmp_path: Path) -> None:
    low, high = (
        table(tmp_path / f"{name}.csv", [value + i % 7 for i in range(40)], "rating")
        for name, value in (("a", 10), ("b", 15))
    )
    code, _, err = run_gate("compare", low, high)
    assert code == 2
    assert "Pass --lower-is-better rating or --higher-is-better rating" in err
    assert compared(low, high, "--lower-is-better", "rating")["verdict"] == "FAIL"
    assert compared(low, high, "--higher-is-better", "rating")["verdict"] == "PASS"
    assert run_gate("compare", low, high, "--lower-is-better", "raiting")[0] == 2
    result = gate.compare(low, high, lower_is_better=["rating"])
    assert result.verdict == "FAIL"
    (command,) = compared(low, high, "--lower-is-better", "rating")["provenance"]["reproduce"]
    assert "--lower-is-better rating" in command


def test_gate_yml_declares_the_direction_of_a_task(tmp_path: Path) -> None:
    low, high = (
        table(tmp_path / f"{name}.csv", [value + i % 7 for i in range(40)], "rating")
        for name, value in (("a", 10), ("b", 15))
    )
    for lower, verdict in (("true", "FAIL"), ("false", "PASS")):
        config = tmp_path / "gate.yml"
        config.write_text(
            "version: 1\nbaseline: {model: a}\ncandidate: {model: b}\n"
            f"tasks: [{{name: wiki, lower_is_better: {lower}}}]\n",
            encoding="utf-8",
        )
        assert compared(low, high, "--config", config)["verdict"] == verdict


def test_tasks_without_a_score_are_left_out_with_a_note(folders: tuple[Path, Path]) -> None:
    result = compared(*folders)
    assert [task["task"] for task in result["tasks"]] == ["sums"]
    assert result["verdict"] == "FAIL"
    assert sum("left out: task" in note for note in result["notes"]) == 2


def test_only_the_task_that_is_named_is_read(folders: tuple[Path, Path]) -> None:
    (folders[1] / "samples_bleu.jsonl").write_text("{broken", encoding="utf-8")
    assert run_gate("compare", *folders)[0] == 2
    result = compared(*folders, "--task", "sums")
    assert [(task["task"], task["regressions"]) for task in result["tasks"]] == [("sums", 20)]
    assert "baseline base: left out samples_bleu.jsonl: not a task that was asked for." in result["lines"]
    assert [task["task"] for task in compared(*folders, "--task", "wiki")["tasks"]] == ["wiki"]
    code, _, err = run_gate("compare", *folders, "--task", "summs")
    assert code == 2
    assert "no such task in the files: summs; they have: " in err
    assert "sums" in err


def test_the_files_that_were_read_are_named_on_standard_error(folders: tuple[Path, Path]) -> None:
    code, out, err = run_gate("compare", *folders)
    assert code == 1
    assert "baseline base: read samples_sums.jsonl (sums: acc, 40 samples)." in err
    assert "candidate cand: read samples_sums.jsonl (sums: acc, 40 samples)." in err
    assert "samples_sums" not in out
    assert run_gate("compare", *folders, "--quiet")[2] == ""


def test_many_files_are_summarised_in_one_line(tmp_path: Path) -> None:
    for side in ("base", "cand"):
        for number in range(60):
            write(tmp_path / side / f"samples_mmlu_{number:02}.jsonl", choice_rows(topic=str(number)))
        write(tmp_path / side / "results.json", summary("m", *(f"mmlu_{number:02}" for number in range(60))))
    lines = compared(tmp_path / "base", tmp_path / "cand")["lines"]
    assert lines[0] == (
        "baseline base: read 60 files (60 tasks, 240 samples): samples_mmlu_00.jsonl, samples_mmlu_01.jsonl, "
        "samples_mmlu_02.jsonl and 57 more."
    )
    assert len(lines) == 2


def test_explain_shows_how_each_task_was_paired(folders: tuple[Path, Path], tmp_path: Path) -> None:
    _, out, _ = run_gate("compare", *folders, "--task", "sums", "--explain")
    assert out[out.index("task sums") :].splitlines() == [
        "task sums",
        "  baseline: samples_sums.jsonl, 40 samples",
        "  candidate: samples_sums.jsonl, 40 samples",
        "  metric: acc (higher is better), filter: none",
        "  paired: 40 items, 0 samples left out, no clusters",
    ]
    low = table(tmp_path / "a.csv", [10.0] * 20)
    out = run_gate("compare", low, table(tmp_path / "b.csv", [11.0] * 19), "--allow-partial", "--explain")[1]
    assert "  metric: -perplexity (lower values of perplexity are better, so its sign is changed)\n" in out
    assert "  paired: 19 items, 1 samples left out, no clusters\n" in out


def test_single_files_are_one_task_under_any_names(tmp_path: Path) -> None:
    base = write(tmp_path / "baseline.jsonl", choice_rows(40, 40))
    cand = write(tmp_path / "awq.jsonl", choice_rows(40, 20))
    result = compared(base, cand, "--explain")
    assert [(task["task"], task["regressions"]) for task in result["tasks"]] == [("baseline", 20)]
    code, _, err = run_gate("compare", base, write(tmp_path / "other.jsonl", choice_rows(topic="other")))
    assert code == 2
    assert "have no item in common" in err


@pytest.mark.parametrize(
    ("one", "other", "way"),
    [
        ("{}", "{}.0", "a final '.0'"),
        ("caf\u00e9{}", "cafe\u0301{}", "Unicode normalisation"),
        ("q{}", "Q{}", "upper and lower case"),
        ("q{}", "q {}", "white space"),
        ("q{}", "q00{}", "leading zeros"),
    ],
)
def test_ids_that_are_almost_equal_are_explained(tmp_path: Path, one: str, other: str, way: str) -> None:
    a = table(tmp_path / "a.csv", [0.0, 1.0] * 10, "acc", ids=one)
    b = table(tmp_path / "b.csv", [0.0, 1.0] * 10, "acc", ids=other)
    code, _, err = run_gate("compare", a, b)
    assert code == 2
    assert f"They differ only in {way}" in err.replace("their ", "")
    other_ids = table(tmp_path / "c.csv", [0.0, 1.0] * 10, "acc", ids="other{}")
    assert "They differ only" not in run_gate("compare", a, other_ids)[2]


def test_different_questions_are_shown_where_they_part(tmp_path: Path) -> None:
    base, cand = choice_rows(20, 20), choice_rows(20, 20, prompt_hash="f" * 64)
    text = run_gate("compare", write(tmp_path / "a.jsonl", base), write(tmp_path / "b.jsonl", cand))[2]
    assert "the few-shot examples, the system message or the chat template differ" in text
    assert "candidate.tokenizer: baseline" in text
    for row in cand:
        row["arguments"]["gen_args_0"]["arg_0"] = row["arguments"]["gen_args_1"]["arg_0"] = "Q: You are helpful.\nA:"
    text = run_gate("compare", tmp_path / "a.jsonl", write(tmp_path / "b.jsonl", cand))[2]
    assert "the baseline has 'Q: sums 0?\\nA:', the candidate 'Q: You are helpful.\\nA:', from character 4 on" in text
