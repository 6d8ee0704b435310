"""Verdicts of judges in the formats of MT-Bench, AlpacaEval and Arena-Hard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.jsonl import write_jsonl

import gate
from gate.errors import SampleError
from gate.importers import read_foreign
from gate.samples import ModelSamples


def scores(samples: ModelSamples) -> dict[str, float]:
    (task,) = samples.tasks.values()
    return dict(zip(task.table.column("item_id").to_pylist(), task.table.column("score").to_pylist(), strict=True))


def single(question: int, model: str, score: float, turn: int = 1) -> dict[str, Any]:
    judge = ["gpt-4", "single-v1"]
    return {
        "question_id": question, "model": model, "judge": judge, "user_prompt": "p", "judgment": f"[[{score}]]",
        "score": score, "turn": turn, "tstamp": 1.5,
    }  # fmt: skip


def pair(question: int, first: str, second: str, turn: int = 1) -> dict[str, Any]:
    return {
        "question_id": question, "model_1": "a", "model_2": "b", "g1_winner": first, "g2_winner": second,
        "judge": ["gpt-4", "pair-v2"], "g1_user_prompt": "", "g1_judgment": "", "g2_user_prompt": "", "g2_judgment": "",
        "turn": turn, "tstamp": 1.5,
    }  # fmt: skip


def test_grades_of_mt_bench(tmp_path: Path) -> None:
    rows = [
        single(q, model, 9 - (model == "int4") * 2, turn)
        for q in range(81, 101)
        for turn in (1, 2)
        for model in ("fp", "int4")
    ]
    file = tmp_path / "gpt-4_single.jsonl"
    write_jsonl(file, rows)
    result = gate.compare(f"{file}::fp", f"{file}::int4")
    (task,) = result.tasks
    assert (result.verdict, task.metric, task.baseline, task.candidate) == ("FAIL", "judge_score", 9, 7)
    assert (task.n, task.units, task.test) == (40, 20, "sign-flip permutation")  # clusters: questions
    assert result.p_value == pytest.approx(2.0**-20, rel=0.01)
    assert not any(finding.kind == "same-file" for finding in result.validity)
    with pytest.raises(SampleError, match=r"name the model; it has 2: fp, int4\.\s.*gpt-4_single.jsonl::MODEL"):
        read_foreign(file)
    with pytest.raises(SampleError, match="no verdicts about int8; it has 2"):
        read_foreign(Path(f"{file}::int8"))


def test_pairs_of_mt_bench_count_only_if_both_orders_agree(tmp_path: Path) -> None:
    rows = [
        pair(1, "model_1", "model_1"), pair(2, "model_2", "model_2"), pair(3, "model_1", "model_2"),
        pair(4, "tie", "model_2"), pair(5, "tie", "tie"),
    ]  # fmt: skip
    write_jsonl(tmp_path / "pair.jsonl", rows)
    a, b = (read_foreign(tmp_path / f"pair.jsonl::{name}") for name in "ab")
    assert [value for _, value in sorted(scores(a).items())] == [1, 0, 0.5, 0.5, 0.5]
    assert [value for _, value in sorted(scores(b).items())] == [0, 1, 0.5, 0.5, 0.5]
    result = gate.compare(f"{tmp_path}/pair.jsonl::a", f"{tmp_path}/pair.jsonl::b")
    (task,) = result.tasks
    assert (task.regressions, task.improvements, task.p_exact) == (1, 1, pytest.approx(0.75))


def test_a_win_and_a_loss_have_the_exact_p_of_mcnemar(tmp_path: Path) -> None:
    rows = [pair(q, "model_1", "model_1") for q in range(9)] + [pair(q, "model_2", "model_2") for q in range(9, 11)]
    write_jsonl(tmp_path / "pair.jsonl", rows)
    result = gate.compare(f"{tmp_path}/pair.jsonl::a", f"{tmp_path}/pair.jsonl::b")
    assert (result.tasks[0].test, result.p_value) == ("exact McNemar", pytest.approx(67 / 2048))


def test_a_row_without_a_verdict_is_an_error_that_can_be_left_out(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "s.jsonl", [single(1, "m", 7), single(2, "m", -1), single(3, "m", 5)])
    with pytest.raises(SampleError, match=r"1 of 3 samples .*the judge gave no verdict"):
        read_foreign(tmp_path / "s.jsonl")
    left = read_foreign(tmp_path / "s.jsonl", allow_partial=True)
    assert list(scores(left).values()) == [7, 5]
    assert "left out 1 samples" in left.notes[0]
    write_jsonl(tmp_path / "p.jsonl", [pair(1, "error", "model_1"), pair(2, "tie", "tie")])
    with pytest.raises(SampleError, match="the judge gave no verdict"):
        read_foreign(tmp_path / "p.jsonl::a")


def alpaca(number: int, preference: float | None) -> dict[str, Any]:
    return {
        "instruction": f"Do {number}.", "output_1": "one", "generator_1": "reference", "dataset": "helpful_base",
        "output_2": "two", "generator_2": "mine", "annotator": "weighted", "preference": preference,
    }  # fmt: skip


def test_annotations_of_alpaca_eval(tmp_path: Path) -> None:
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps([alpaca(1, 1.0), alpaca(2, 2.0), alpaca(3, 1.25), alpaca(4, 1.5), alpaca(5, 0)]))
    mine, reference = read_foreign(file), read_foreign(Path(f"{file}::reference"))
    assert list(scores(mine).values()) == [0, 1, 0.25, 0.5, 0.5]
    assert list(scores(reference).values()) == [1, 0, 0.75, 0.5, 0.5]
    assert (mine.label, mine.tasks["annotations"].metric) == ("mine", "win_rate")
    assert mine.tasks["annotations"].table.column("output").to_pylist() == ["two"] * 5
    file.write_text(json.dumps([alpaca(1, None), alpaca(2, 2.0)]))
    with pytest.raises(SampleError, match="the judge gave no verdict"):
        read_foreign(file)
    file.write_text(json.dumps([alpaca(1, 3.0), alpaca(2, 2.0)]))
    with pytest.raises(SampleError, match="the judge gave no verdict"):
        read_foreign(file)


def arena(uid: str, first: str | None, second: str | None, model: str = "mine") -> dict[str, Any]:
    games = [{"score": label, "judgment": {"answer": ""}, "prompt": []} for label in (first, second)]
    return {"uid": uid, "category": "hard_prompt", "judge": "gpt-4.1", "model": model, "baseline": "o3", "games": games}


@pytest.mark.parametrize(
    ("first", "second", "score"),
    [
        ("B>A", "A>B", 1), ("B>>A", "A>B", 1), ("A>B", "B>A", 0), ("A>>B", "B>>A", 0), ("A<B", "B<A", 1),
        ("A>B", "A>B", 0.5), ("A=B", "A>B", 0.5), ("B=A", "A=B", 0.5),
    ],
)  # fmt: skip
def test_arena_hard_shows_the_reference_first_and_then_the_model(
    tmp_path: Path, first: str, second: str, score: float
) -> None:
    write_jsonl(tmp_path / "mine.jsonl", [arena("u1", first, second)])
    assert scores(read_foreign(tmp_path / "mine.jsonl")) == {"u1": score}
    assert scores(read_foreign(tmp_path / "mine.jsonl::o3")) == {"u1": 1 - score}


def test_two_models_of_arena_hard_are_compared_by_their_wins_over_its_baseline(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "fp16.jsonl", [arena(f"u{n}", "B>A", "A>B", "fp16") for n in range(20)])
    old = [
        {key: value for key, value in arena(f"u{n}", "A>B", "B>A", "int4").items() if key != "baseline"}
        for n in range(20)
    ]
    write_jsonl(tmp_path / "int4.jsonl", old)
    result = gate.compare(tmp_path / "fp16.jsonl", tmp_path / "int4.jsonl")
    assert (result.verdict, result.tasks[0].regressions) == ("FAIL", 20)


@pytest.mark.parametrize("label", [None, "A>A", "C>B", "tie", 3])
def test_a_label_that_is_none_is_no_verdict(tmp_path: Path, label: Any) -> None:
    write_jsonl(tmp_path / "mine.jsonl", [arena("u1", label, "A>B"), arena("u2", "A>B", "A>B")])
    with pytest.raises(SampleError, match="the judge gave no verdict"):
        read_foreign(tmp_path / "mine.jsonl")


def test_other_formats_have_one_model(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("task,item_id,output,target,correct\nfaq,1,x,x,1\n")
    with pytest.raises(SampleError, match="has the format table, which has one model"):
        read_foreign(tmp_path / "a.csv::m")
