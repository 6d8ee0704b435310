"""Chats, sampling, reasoning and turns of a task: settings, fingerprint, requests and scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from support.jsonl import write_jsonl

from gate.config import SampleSettings, TaskSettings, parse_config
from gate.errors import ConfigError, TaskError
from gate.tasks import Message, Sampling, Task, build_task
from gate.tasks.reasoning import ReasoningTags
from gate.tasks.requests import Answer, GenerateAnswer, GenerateRequest

TASK: dict[str, Any] = {
    "name": "sums",
    "file": "items.jsonl",
    "kind": "generate_until",
    "prompt": "What is {{ q }}?",
    "answer": "{{ gold }}",
}
TURNS = {key: value for key, value in TASK.items() if key != "prompt"} | {"turns": "{{ turns }}", "chat": True}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        {"q": "1 + 1", "gold": "2", "turns": ["first", "second", "third"], "golds": ["a", ["b", "B"], "c"]},
        {"q": "2 + 2", "gold": "4", "turns": ["only"], "golds": ["x"]},
    ]
    write_jsonl(tmp_path / "items.jsonl", rows)
    return tmp_path


def build(folder: Path, samples: dict[str, Any] | None = None, task: dict[str, Any] = TASK, **changes: Any) -> Task:
    return build_task(TaskSettings.model_validate(task | changes), SampleSettings(**(samples or {})), folder)


def refusal(task: dict[str, Any] = TASK, **changes: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        TaskSettings.model_validate(task | changes)
    return str(caught.value.errors()[0]["msg"])


def transcript(messages: Sequence[Message]) -> str:
    return "".join(f"[{message.role}] {message.content}" for message in messages)


def first(task: Task, item: int = 0, repeat: int = 0) -> GenerateRequest:
    (request,) = task.requests(task.items[item], repeat, transcript)
    assert isinstance(request, GenerateRequest)
    return request


def test_a_chat_is_rendered_and_sent_to_the_route_only_if_the_task_says_so(folder: Path) -> None:
    plain, rendered, route = (
        build(folder),
        build(folder, chat_template=True),
        build(folder, chat=True, system="Be brief."),
    )
    assert first(plain).context == "What is 1 + 1?"
    assert first(rendered).context == "[user] What is 1 + 1?"
    assert first(plain).messages == first(rendered).messages == ()
    assert first(route).messages == (Message("system", "Be brief."), Message("user", "What is 1 + 1?"))
    assert first(route).context == "[system] Be brief.[user] What is 1 + 1?"
    assert len({task.fingerprint for task in (plain, rendered, build(folder, chat=True))}) == 3


def test_template_variables_and_reasoning_tags_are_part_of_requests_and_fingerprint(folder: Path) -> None:
    off = {"enable_thinking": False}
    tasks = [
        build(folder, chat=True),
        build(folder, chat=True, chat_template_kwargs=off),
        build(folder, chat=True, reasoning=False),
        build(folder, chat=True, reasoning={"start": "[THINK]", "end": "[/THINK]"}),
    ]
    assert len({task.fingerprint for task in tasks}) == 4
    assert first(tasks[1]).template_kwargs == '{"enable_thinking":false}'
    assert tasks[1].chat_format.route
    assert [first(task).reasoning for task in tasks] == [
        ReasoningTags(),
        ReasoningTags(),
        None,
        ReasoningTags("[THINK]", "[/THINK]"),
    ]
    assert first(build(folder)).reasoning is first(build(folder, chat_template=True)).reasoning is None
    assert first(build(folder, reasoning={})).reasoning == ReasoningTags()
    changed = {key for key in tasks[0].facets if tasks[0].facets[key] != tasks[1].facets[key]}
    assert changed == {"chat_template"}


def test_a_task_without_the_new_keys_keeps_its_facets(folder: Path) -> None:
    assert set(build(folder).facets) == {
        *("kind", "scoring_version", "metric", "documents", "prompt", "answer", "description", "target_delimiter"),
        *("chat_template", "fewshot", "cluster", "generation", "scoring", "repeats", "temperature"),
    }
    facets = build(folder, {"temperature": 0.7, "repeats": 2}, chat_template=True).facets
    assert (facets["chat_template"], facets["temperature"]) == ("[true,null]", "0.7")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chat_template_kwargs": {"a": 1}}, "chat_template_kwargs need chat_template: true or chat: true"),
        ({"system": "x"}, "system needs chat_template: true or chat: true"),
        ({"kind": "multiple_choice", "choices": "{{ c }}", "chat": True}, "a chat route returns no log-likelihoods"),
        ({"kind": "multiple_choice", "choices": "{{ c }}", "sampling": {}}, "sampling: only for generate_until tasks"),
        ({"sampling": {"temperature": 0, "repeats": 3}}, "repeats: 3 at temperature 0: the 3 greedy answers"),
        ({"sampling": {"temperature": 0.0, "top_p": 0.9, "top_k": 3}}, "top_p, top_k: no effect at temperature 0"),
        ({"sampling": {"temperature": -1}}, "greater than or equal to 0"),
        ({"sampling": {"top_p": 0}}, "greater than 0"),
        ({"sampling": {"top_p": 1.01}}, "less than or equal to 1"),
        ({"sampling": {"top_k": -1}}, "greater than or equal to 0"),
        ({"sampling": {"min_p": 2}}, "less than or equal to 1"),
        ({"sampling": {"repetition_penalty": 0}}, "greater than 0"),
        ({"sampling": {"repeats": 101}}, "less than or equal to 100"),
        ({"sampling": {"top_P": 0.9}}, "Extra inputs are not permitted"),
        ({"chat": True, "reasoning": {"start": "x", "end": "x"}}, "start and end must differ"),
        ({"chat": True, "reasoning": {"start": ""}}, "at least 1 character"),
        ({"turns": "{{ turns }}", "chat": True}, "turns cannot be combined with prompt"),
        ({"score_turns": "each", "chat": True}, "score_turns: each needs turns"),
        ({"chat": True, "chat_template_kwargs": {"add_generation_prompt": True}}, "add_generation_prompt"),
    ],
)
def test_keys_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    assert message in refusal(**changes)


def test_turns_need_a_chat() -> None:
    assert "turns need chat: true or chat_template: true" in refusal(TURNS, chat=False)
    assert "turns cannot be combined with fewshot" in refusal(TURNS, fewshot=1)


def test_a_misspelt_sampling_key_is_named_with_its_line(tmp_path: Path) -> None:
    text = (
        "version: 1\nbaseline: {model: a}\ncandidate: {model: b}\ntasks:\n"
        "  - name: sums\n    file: x.jsonl\n    kind: generate_until\n    prompt: p\n    answer: a\n"
        "    sampling:\n      temprature: 1\n"
    )
    with pytest.raises(
        ConfigError, match=r"11: tasks\.0\.sampling\.temprature: unknown key; did you mean temperature\?"
    ):
        parse_config(text, tmp_path / "gate.yml")


def test_the_sampling_of_a_task_overrides_that_of_samples(folder: Path) -> None:
    samples = {"temperature": 0.7, "repeats": 4, "seed": 3}
    assert build(folder, samples).sampling == Sampling(4, 0.7, 3)
    own = {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.1, "repetition_penalty": 1.1, "repeats": 2}
    task = build(folder, samples, sampling=own)
    assert task.sampling == Sampling(2, 0.6, 3, 20, 0.95, 0.1, 1.1)
    request = first(task)
    assert (request.temperature, request.top_k, request.top_p, request.min_p) == (0.6, 20, 0.95, 0.1)
    assert request.repetition_penalty == 1.1
    assert len({first(task, item, repeat).seed for item in (0, 1) for repeat in (0, 1)}) == 4
    assert task.facets["temperature"] == "0.6, top_k 20, top_p 0.95, min_p 0.1, repetition_penalty 1.1"
    assert build(folder, samples, sampling={"seed": 8}).sampling.seed == 8
    assert first(build(folder, sampling={"repetition_penalty": 1.2})).seed == 0  # greedy


def test_a_greedy_task_beside_repeated_ones_must_say_that_it_is_not_repeated(folder: Path) -> None:
    samples = {"temperature": 0.7, "repeats": 4}
    with pytest.raises(ConfigError, match="task sums: sampling: repeats: 4 at temperature 0"):
        build(folder, samples, sampling={"temperature": 0})
    assert build(folder, samples, sampling={"temperature": 0, "repeats": 1}).repeats == 1
    with pytest.raises(ConfigError, match="top_k: no effect at temperature 0"):
        build(folder, sampling={"top_k": 5})


def answers(*texts: str) -> list[Answer]:
    return [GenerateAnswer(text, 1, 1) for text in texts]


def test_each_turn_follows_the_models_own_answers(folder: Path) -> None:
    task = build(folder, task=TURNS, system="Hi.", answer="{{ gold }}")
    item = task.items[0]
    assert item.prompt == "first\n\nsecond\n\nthird"
    assert first(task).messages == (Message("system", "Hi."), Message("user", "first"))
    (second,) = task.follow_up(item, 0, transcript, answers("A"))
    assert isinstance(second, GenerateRequest)
    assert transcript(second.messages) == second.context == "[system] Hi.[user] first[assistant] A[user] second"
    (third,) = task.follow_up(item, 0, transcript, answers("A", "B"))
    assert isinstance(third, GenerateRequest)
    assert third.context.endswith("[user] second[assistant] B[user] third")
    assert task.follow_up(item, 0, transcript, answers("A", "B", "C")) == ()
    assert task.follow_up(task.items[1], 0, transcript, answers("A")) == ()


def test_turns_of_a_rendered_chat_carry_no_messages(folder: Path) -> None:
    task = build(folder, task=TURNS, chat=False, chat_template=True)
    (second,) = task.follow_up(task.items[0], 0, transcript, answers("A"))
    assert isinstance(second, GenerateRequest)
    assert (second.context, second.messages) == ("[user] first[assistant] A[user] second", ())


def test_the_last_answer_is_scored_or_the_mean_over_the_turns(folder: Path) -> None:
    last = build(folder, task=TURNS)
    scored = last.score(last.items[0], answers("2", "x", "2"))
    assert (scored.score, scored.correct, scored.output) == (1.0, True, "2")
    assert last.score(last.items[0], answers("2", "2", "x")).score == 0.0
    each = build(folder, task=TURNS, answer="{{ golds }}", score_turns="each")
    assert each.items[0].turn_targets == (("a",), ("b", "B"), ("c",))
    assert each.items[0].target == '["a","b | B","c"]'
    scored = each.score(each.items[0], answers("a", "B", "x"))
    assert (scored.score, scored.correct, scored.output) == (pytest.approx(2 / 3), None, '["a","B","x"]')
    assert last.fingerprint != each.fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"turns": "{{ q }}"}, "turns gave '1 \\+ 1'; expected a list of user messages"),
        ({"turns": "{{ [] }}"}, "turns gave \\[\\]; expected a list"),
        ({"turns": ["{{ q }}", " "]}, "expected a list of user messages"),
        ({"score_turns": "each"}, "answer gave '2'; expected a list with one entry for each of the 3 turns"),
        ({"score_turns": "each", "answer": "{{ golds[:1] }}"}, "one entry for each of the 3 turns"),
        ({"turns": "{{ missing }}"}, "missing"),
    ],
)
def test_documents_that_do_not_fit_turns_are_named(folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        build(folder, task=TURNS, **changes)
    assert "task sums: " in caught.value.message
