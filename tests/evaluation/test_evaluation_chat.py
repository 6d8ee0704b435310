"""Chats of several turns, reasoning and the reason why a text ended, from the task to the rows; and a whole run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.commands import run_gate
from support.fake_chat import FakeChat
from support.fake_vllm import NAME, serve
from support.jsonl import write_jsonl
from support.opened import open_model
from support.served import open_served

from gate.config import SampleSettings, TaskSettings
from gate.engines import Engine
from gate.evaluation.answer import answer_items
from gate.tasks import Task, build_task

TURNS: dict[str, Any] = {
    "name": "talk",
    "file": "talk.jsonl",
    "kind": "generate_until",
    "turns": "{{ turns }}",
    "answer": "{{ gold }}",
    "chat": True,
    "max_tokens": 5,
    "reasoning": False,
}


@pytest.fixture(scope="module")
def plain(chat_model: Path) -> Engine:
    return open_model(chat_model)


@pytest.fixture(scope="module")
def fake(chat_model: Path) -> FakeChat:
    return FakeChat(chat_model)


@pytest.fixture
def url(fake: FakeChat) -> Iterator[str]:
    fake.requests = []
    with serve(fake) as address:
        yield address


def build(folder: Path, samples: dict[str, Any] | None = None, **changes: Any) -> Task:
    rows = [
        {"turns": ["one cat", "two", "red?"], "gold": ["a", "b", "c"]},
        {"turns": ["big dog"], "gold": ["x"]},
        {"turns": ["the fish", "is it blue"], "gold": ["five", "one"]},
    ]
    write_jsonl(folder / "talk.jsonl", rows)
    return build_task(TaskSettings.model_validate(TURNS | changes), SampleSettings(**(samples or {})), folder)


def rows(task: Task, engine: Engine, finished: list[int] | None = None) -> pa.Table:
    return answer_items(task, task.items, engine, [].append if finished is None else finished.append, None)


def test_several_turns_give_the_same_rows_through_both_engines(
    tmp_path: Path, url: str, fake: FakeChat, chat_model: Path, plain: Engine
) -> None:
    task = build(tmp_path, score_turns="each")
    finished: list[int] = []
    ours, theirs = rows(task, plain, finished), rows(task, open_served(url, NAME, chat_model))
    columns = ["item_id", "prompt_hash", "output", "score", "correct", "tokens_in", "tokens_out", "finish_reason"]
    assert ours.select(columns).to_pylist() == theirs.select(columns).to_pylist()
    assert sum(finished) == 3
    chats = [body["messages"] for route, body, _ in fake.requests if route == "/v1/chat/completions"]
    longest = max(chats, key=len)
    outputs = json.loads(ours["output"][0].as_py())
    assert [message["role"] for message in longest] == ["user", "assistant", "user", "assistant", "user"]
    assert [message["content"] for message in longest[1::2]] == outputs[:2]
    assert [len(json.loads(text)) for text in ours["output"].to_pylist()] == [3, 1, 2]


def test_the_history_of_a_chat_has_answers_without_reasoning(tmp_path: Path, plain: Engine) -> None:
    tags = {"start": "five", "end": "five five"}
    task = build(tmp_path, reasoning=tags, max_tokens=12, chat=False, chat_template=True)
    table = rows(task, plain)
    whole = rows(build(tmp_path, max_tokens=12, chat=False, chat_template=True), plain)
    assert table.column_names == whole.column_names
    assert whole["reasoning"].null_count == len(whole)
    assert whole["reasoning_closed"].null_count == len(whole)
    assert set(table["finish_reason"].to_pylist()) == {"length"}
    assert any(table["reasoning"].to_pylist())


def test_repeats_of_a_chat_are_rows_with_their_own_seeds(tmp_path: Path, plain: Engine) -> None:
    task = build(tmp_path, sampling={"temperature": 1.2, "top_p": 0.9, "repeats": 3})
    table = rows(task, plain)
    assert table["repeat"].to_pylist() == [0, 1, 2] * 3
    assert table["item_id"].to_pylist() == [item.item_id for item in task.items for _ in range(3)]
    assert len(set(table["output"].to_pylist())) > 5
    assert table.equals(rows(task, plain))


def test_a_run_compares_a_chat_route_with_transformers(
    tmp_path: Path, url: str, chat_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    build(tmp_path)
    task = {**TURNS, "chance": 0.0, "score_turns": "each", "chat_template_kwargs": {"enable_thinking": False}}
    candidate = {"model": NAME, "tokenizer": "baseline", "engine": {"kind": "openai", "base_url": url}}
    config = {
        "version": 1,
        "baseline": {"model": str(chat_model)},
        "candidate": candidate,
        "engine": {"device": "cpu"},
        "tasks": [task],
    }
    (tmp_path / "gate.yml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    done = run_gate("run")
    assert done.code in (0, 3), done.err
    (row,) = json.loads((tmp_path / "gate-result.json").read_text(encoding="utf-8"))["tasks"]
    assert (row["n"], row["regressions"], row["improvements"], row["all_flip_rate"]) == (3, 0, 0, 0.0)
    assert row["kl_mean"] < 1e-3
