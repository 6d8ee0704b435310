"""Judged texts in a whole comparison: the policy of a gate.yml, the notes, the stored judgements."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.jsonl import write_jsonl
from support.judge_server import JudgeServer, judge_server
from support.tiny import TINY_TASK, write_tiny_task

import gate
from gate.app.curate import curate
from gate.app.reporter import SilentReporter
from gate.config import TaskSettings, parse_config
from gate.errors import ConfigError, EvaluationError, SampleError
from gate.importers.build import task_samples
from gate.samples import ModelSamples, TaskSamples
from gate.tasks.requests import GenerateAnswer


def gate_yml(folder: Path, server: JudgeServer, **scorer: Any) -> Any:
    task = {
        "name": "chat",
        "file": "q.jsonl",
        "kind": "generate_until",
        "prompt": "{{ q }}",
        "scorer": {"kind": "judge", "base_url": server.url, "model": "rule", "api_key_env": None, **scorer},
    }
    config = {"version": 1, "baseline": {"model": "a"}, "candidate": {"model": "b"}, "tasks": [task]}
    return parse_config(yaml.safe_dump(config), folder / "gate.yml")


def samples(outputs: list[str], **about: Any) -> ModelSamples:
    columns: dict[str, Any] = {"item_id": [f"i{n}" for n in range(len(outputs))], "score": [0.0] * len(outputs)}
    one = task_samples(
        "chat", "judge_pairwise", columns | {"output": outputs, "prompt": [f"q{n}" for n in range(len(outputs))]}
    )
    unscored = one.table.set_column(
        one.table.schema.get_field_index("score"), one.table.schema.field("score"), [[math.nan] * len(outputs)]
    )
    return ModelSamples("m", {"chat": TaskSamples("chat", "judge_pairwise", unscored)}, about)


LONG, SHORT = ["a good long answer"] * 30, ["short"] * 30


def test_worse_answers_fail_and_the_judge_is_reported(tmp_path: Path) -> None:
    with judge_server() as server:
        config = gate_yml(tmp_path, server)
        result = gate.compare(samples(LONG), samples(SHORT), config=config)
        again = gate.compare(samples(LONG), samples(SHORT), config=config)
    (task,) = result.tasks
    assert (result.verdict, task.test, task.regressions, task.improvements) == ("FAIL", "exact McNemar", 30, 0)
    assert result.p_value == pytest.approx(2.0**-30)
    (note,) = (note for note in result.notes if "judge" in note)
    assert "prefers the baseline's answer in 30 and the candidate's in 0" in note
    assert "60 judgements (0 from earlier runs), 0 replies without a verdict" in note
    assert result.candidate["judges"]["chat"]["baseline"] == 30
    assert "60 judgements (60 from earlier runs)" in " ".join(again.notes)
    assert len(server.asked) == 60
    assert len(list((tmp_path / ".gate/judgements").glob("*.jsonl"))) == 1


def test_equal_texts_cost_nothing_and_pass(tmp_path: Path) -> None:
    with judge_server() as server:
        result = gate.compare(samples(LONG), samples(LONG), config=gate_yml(tmp_path, server))
        assert (result.verdict, server.asked) == ("PASS", [])


@pytest.mark.parametrize(
    ("mode", "rule", "message"),
    [
        ("pairwise", lambda _: "A", "all 30 preferences changed with the order"),
        ("grade", lambda _: "8", "it gives all texts one grade"),
    ],
)
def test_a_judge_that_cannot_tell_answers_apart_gives_no_pass(
    tmp_path: Path, mode: str, rule: Any, message: str
) -> None:
    texts = [f"text {n}" for n in range(30)]
    with judge_server(rule) as server, pytest.raises(EvaluationError, match=message) as caught:
        gate.compare(samples(texts), samples(texts[::-1]), config=gate_yml(tmp_path, server, mode=mode))
    assert caught.value.exit_code == 4
    assert len(list((tmp_path / ".gate/judgements").glob("*.jsonl"))) == 1


def test_a_judge_that_finds_ties_gives_a_pass(tmp_path: Path) -> None:
    with judge_server(lambda _: "TIE") as server:
        assert gate.compare(samples(LONG), samples(SHORT), config=gate_yml(tmp_path, server)).verdict == "PASS"


def test_grades_are_graded_scores(tmp_path: Path) -> None:
    with judge_server() as server:
        config = gate_yml(tmp_path, server, mode="grade")
        result = gate.compare(samples(["12345678"] * 30), samples(["1234"] * 30), config=config)
    (task,) = result.tasks
    assert (result.verdict, task.baseline, task.candidate) == ("FAIL", pytest.approx(7 / 9), pytest.approx(3 / 9))


def test_texts_that_were_not_judged_are_refused() -> None:
    with pytest.raises(SampleError, match="task chat: its texts were not judged"):
        gate.compare(samples(LONG), samples(SHORT))


def test_a_task_with_a_judge_stores_texts_without_scores(tmp_path: Path) -> None:
    from gate.config import SampleSettings
    from gate.tasks import build_task

    # questions as in MT-Bench: some have reference answers
    questions = [
        {"question_id": 81, "category": "writing", "turns": ["Compose a post.", "Rewrite it."]},
        {"question_id": 101, "category": "math", "turns": ["1 + 1?", "Why?"], "reference": ["2", "It is so."]},
    ]
    write_jsonl(tmp_path / "question.jsonl", questions)
    judge = {"kind": "judge", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
    settings = {
        "name": "mt", "file": "question.jsonl", "kind": "generate_until", "turns": "{{ turns }}", "chat_template": True,
        "answer": "{{ reference | default('none') }}", "cluster": "question_id", "slices": ["category"], "scorer": judge,
    }  # fmt: skip
    task = build_task(TaskSettings.model_validate(settings), SampleSettings(), tmp_path)
    scored = task.score(task.items[1], [GenerateAnswer("2", 1, 1), GenerateAnswer("Because.", 1, 1)])
    assert math.isnan(scored.score)
    assert (scored.correct, scored.output, task.items[1].cluster) == (None, '["2","Because."]', "101")
    # another judge does not need the answers again
    other = build_task(
        TaskSettings.model_validate(settings | {"scorer": judge | {"model": "n"}}), SampleSettings(), tmp_path
    )
    assert other.fingerprint == task.fingerprint


def test_early_stopping_cannot_wait_for_a_judge(tmp_path: Path) -> None:
    with judge_server() as server:
        data = gate_yml(tmp_path, server).config.model_dump(by_alias=True)
    data["decision"]["early_stop"] = {"alpha": 0.01}
    with pytest.raises(ValueError, match="cannot be used with a judge: chat"):
        type(gate_yml(tmp_path, server).config).model_validate(data)


def test_the_noise_of_judged_tasks_is_refused(tmp_path: Path) -> None:
    with judge_server() as server, pytest.raises(ConfigError, match="noise of judged tasks is unknown") as caught:
        gate.noise(gate_yml(tmp_path, server))
    assert caught.value.hint == "Add a gating task with another scorer."
    assert not server.asked


def test_judged_tasks_cannot_be_curated(tmp_path: Path) -> None:
    with (
        judge_server() as server,
        pytest.raises(ConfigError, match="one model's answers have no score: chat") as caught,
    ):
        curate(gate_yml(tmp_path, server), SilentReporter(), runs=4, temperature=1.0, audit=0.1, by="other")
    assert caught.value.hint == "Name other tasks to curate with --task."
    assert not server.asked


def test_the_noise_of_other_tasks_is_measured_beside_judged_ones(
    tmp_path: Path, tiny_model: Path, other_tiny_model: Path
) -> None:
    write_tiny_task(tmp_path / "items.jsonl")
    write_jsonl(tmp_path / "q.jsonl", [{"q": f"Q: {n}?"} for n in range(4)])
    with judge_server() as server:
        data = gate_yml(tmp_path, server).config.model_dump(by_alias=True, exclude_unset=True)
        data["tasks"] = [{**data["tasks"][0], "max_tokens": 4}, TINY_TASK]
        data |= {"baseline": {"model": str(tiny_model)}, "candidate": {"model": str(other_tiny_model)}}
        data["engine"] = {"device": "cpu"}
        control = gate.noise(parse_config(yaml.safe_dump(data), tmp_path / "gate.yml"))
    assert [task.task for task in control.tasks] == ["animals"]
    assert control.floor.items == 24
    assert not server.asked
