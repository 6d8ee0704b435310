"""Servers that fail for some prompts, and broken bodies: a clear message, and finished items are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stamina
from support.evaluations import text_task
from support.fake_chat import FakeChat
from support.fake_vllm import NAME, Fault, serve
from support.opened import silent
from support.served import open_served, served_identity

from gate.config import EngineSettings, ModelSettings
from gate.engines import locate
from gate.errors import EvaluationError, ExitCode, ModelError
from gate.evaluation.evaluate import TaskEvaluation
from gate.tasks import Message
from gate.tasks.chat import ChatFormat
from gate.tasks.requests import GenerateRequest

ROUTE = ChatFormat(route=True)


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> FakeChat:
    return FakeChat(tiny_model)


@pytest.fixture
def fake(loaded: FakeChat, monkeypatch: pytest.MonkeyPatch) -> FakeChat:
    loaded.faults, loaded.requests = [], []
    return loaded


@pytest.fixture
def url(fake: FakeChat) -> Iterator[str]:
    stamina.set_testing(True, attempts=3)  # three attempts, without waiting between them
    with serve(fake) as address:
        yield address
    stamina.set_testing(False)


def failing(answer: Callable[..., tuple[int, Any]], text: str, status: int) -> Callable[..., tuple[int, Any]]:
    """Return a server's answers, but a status for prompts with a text."""

    def answer_or_fail(route: str, body: dict[str, Any]) -> tuple[int, Any]:
        prompt = str(body.get("prompt") or body.get("messages"))
        if text in prompt:
            return status, {"error": {"message": "CUDA error: an illegal memory access"}}
        return answer(route, body)

    return answer_or_fail


@pytest.mark.parametrize("chat", [False, True])
def test_status_500_for_some_prompts_names_the_prompt_and_keeps_the_finished_items(
    url: str, fake: FakeChat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chat: bool
) -> None:
    task = text_task(tmp_path, chat=chat, cluster=None, max_tokens=1)
    engine = open_served(url, NAME)
    evaluation = TaskEvaluation(task, engine, served_identity(url, NAME), tmp_path / "set")
    groups = [task.items[start : start + 8] for start in (0, 8, 16)]
    with monkeypatch.context() as patched:
        patched.setattr(fake, "answer", failing(fake.answer, "number 19?", 500))
        with pytest.raises(EvaluationError, match=r"status 500 \(attempts: 3\): CUDA error") as caught:
            evaluation.run(silent, groups)
    assert "The prompt ends with 'Q: Which animal is number 19?" in caught.value.message
    assert caught.value.exit_code is ExitCode.EVALUATION
    before = len(fake.requests)
    progress: list[int] = []
    finished = evaluation.run(progress.append, groups)
    assert finished.manifest.items == 24
    assert progress[0] == 16  # resumed
    assert len(fake.requests) - before < 24


def test_a_truncated_or_broken_body_is_an_error(url: str, fake: FakeChat, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_served(url, NAME)
    for text in ('{"choices": [{"text": "x', "", "\x1f\x8b", "[" * 10_000):
        fake.faults = [Fault(200, text=text)]
        with pytest.raises(EvaluationError, match="answers /v1/completions, but not with JSON") as caught:
            engine.generate_until([GenerateRequest("the cat", (), 3)], silent)
        assert ("may be cut off" in str(caught.value.hint)) is (text[:1] in ("{", "["))
    assert "10,000 bytes end with '[[[[" in caught.value.message
    message = (Message("user", "the cat"),)
    request = GenerateRequest(engine.render_chat(message, ROUTE), (), 3, messages=message)
    monkeypatch.setattr(fake, "chat", lambda _: (200, {"choices": "x"}))
    with pytest.raises(EvaluationError, match="unexpected form: choices"):
        engine.generate_until([request], silent)


@pytest.mark.parametrize("preset", [{"preset": "vllm"}, {"command": ["python", "serve.py", "{model}", "{port}"]}])
def test_a_model_that_does_not_exist_is_named_before_a_server_is_started(
    tmp_path: Path, preset: dict[str, Any]
) -> None:
    settings = EngineSettings(kind="served", **preset)
    with pytest.raises(ModelError, match=r"model \./nothing: the folder .*nothing does not exist"):
        locate(ModelSettings(model="./nothing"), tmp_path, settings)
