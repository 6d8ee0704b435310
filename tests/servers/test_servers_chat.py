"""The chat route of a server: the same answers as the transformers engine with the same weights and settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fake_chat import FakeChat
from support.fake_vllm import NAME, serve, unchanged
from support.opened import open_model, silent
from support.served import open_served

from gate.engines import Engine
from gate.engines.openai.sampling import sampling_options
from gate.engines.openai.server import Server
from gate.errors import EvaluationError, ExitCode, TaskError
from gate.tasks import Message
from gate.tasks.chat import ChatFormat
from gate.tasks.reasoning import ReasoningTags
from gate.tasks.requests import GenerateAnswer, GenerateRequest

ROUTE = ChatFormat(route=True)
DIRECT = ChatFormat('{"enable_thinking":false}', route=True)
CHATS = [(Message("user", text),) for text in ("is it red?", "one", "a cat")]
TAGS = ReasoningTags("five", "eats")  # the greedy answers begin with the one, and most have the other


@pytest.fixture(scope="module")
def weights(chat_model: Path) -> Path:
    return chat_model


@pytest.fixture(scope="module")
def plain(weights: Path) -> Engine:
    return open_model(weights)


@pytest.fixture(scope="module")
def loaded(weights: Path) -> FakeChat:
    return FakeChat(weights)


@pytest.fixture(scope="module")
def url(loaded: FakeChat) -> Iterator[str]:
    with serve(loaded) as address:
        yield address


@pytest.fixture(scope="module")
def served(url: str, weights: Path) -> Engine:
    """The served model, for tests that do not change what the server tells at the beginning."""
    return open_served(url, NAME, weights)


@pytest.fixture
def fake(loaded: FakeChat) -> Iterator[FakeChat]:
    with unchanged(loaded):
        loaded.refused = {}
        yield loaded


def requests_of(engine: Engine, chat: ChatFormat = ROUTE, **options: Any) -> list[GenerateRequest]:
    """Return the requests for the chats, rendered by an engine as a task does."""
    given = {"stop": (), "max_tokens": 8, **options}
    return [
        GenerateRequest(
            engine.render_chat(messages, chat), messages=messages, template_kwargs=chat.template_kwargs, **given
        )
        for messages in CHATS
    ]


def answers(engine: Engine, chat: ChatFormat = ROUTE, **options: Any) -> list[GenerateAnswer]:
    return engine.generate_until(requests_of(engine, chat, **options), silent)


def texts(engine: Engine, chat: ChatFormat = ROUTE, **options: Any) -> list[str]:
    return [answer.text for answer in answers(engine, chat, **options)]


def sent(fake: FakeChat) -> dict[str, Any]:
    """Return the last request to the chat route."""
    return [body for route, body, _ in fake.requests if route == "/v1/chat/completions"][-1]


@pytest.mark.parametrize("chat", [ROUTE, DIRECT])
@pytest.mark.parametrize("stop", [(), ("eats", "two")])
def test_a_chat_is_answered_as_by_the_transformers_engine(
    served: Engine, fake: FakeChat, plain: Engine, chat: ChatFormat, stop: tuple[str, ...]
) -> None:
    ours, theirs = answers(plain, chat, stop=stop), answers(served, chat, stop=stop)
    for expected, actual in zip(ours, theirs, strict=True):
        assert (actual.text, actual.finish_reason) == (expected.text, expected.finish_reason)
        assert actual.tokens_in == expected.tokens_in
    assert ("stop" if stop else "length") in [answer.finish_reason for answer in ours]
    assert texts(plain, ROUTE) != texts(plain, DIRECT)
    assert sent(fake)["messages"] in [[dataclasses.asdict(message) for message in chat] for chat in CHATS]
    assert sent(fake).get("chat_template_kwargs") == ({"enable_thinking": False} if chat == DIRECT else None)
    assert "/v1/completions" not in [route for route, *_ in fake.requests[-4:]]


def test_the_prompt_is_known_only_if_the_server_renders_it_like_the_tokenizer_here(
    url: str, fake: FakeChat, weights: Path, plain: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    assert open_served(url, NAME, weights).render_chat(CHATS[0], DIRECT) == plain.render_chat(CHATS[0], DIRECT)
    assert open_served(url, NAME).render_chat(CHATS[0], ROUTE) == ""  # no tokenizer here
    fake.tokenizer.chat_template = "{{ messages[0]['content'] }}"
    served = open_served(url, NAME, weights)
    try:
        assert served.render_chat(CHATS[0], ROUTE) == ""
    finally:
        fake.tokenizer.chat_template = plain._loaded.tokenizer.chat_template  # type: ignore[attr-defined]
    assert "renders chats differently from the tokenizer here" in caplog.text


def test_a_server_that_ignores_template_variables_is_refused(url: str, fake: FakeChat, weights: Path) -> None:
    fake.knows_kwargs = False
    with pytest.raises(TaskError, match="ignores chat_template_kwargs: with and without") as caught:
        open_served(url, NAME, weights).render_chat(CHATS[0], DIRECT)
    assert '{"enable_thinking":false}' in caught.value.message
    assert caught.value.exit_code is ExitCode.USAGE


def test_without_a_tokenizer_a_server_that_may_ignore_template_variables_is_named(
    url: str, fake: FakeChat, caplog: pytest.LogCaptureFixture
) -> None:
    open_served(url, NAME).render_chat(CHATS[0], DIRECT)
    assert "may ignore" not in caplog.text
    fake.knows_kwargs = False
    open_served(url, NAME).render_chat(CHATS[0], DIRECT)
    assert "may ignore chat_template_kwargs" in caplog.text


def test_a_server_without_a_chat_route_is_refused_by_name(url: str, fake: FakeChat, weights: Path) -> None:
    fake.has_chat = False
    with pytest.raises(
        TaskError, match=r"chat: true, but the server .* rejects /v1/chat/completions with status 404"
    ) as e:
        open_served(url, NAME, weights).render_chat(CHATS[0], ROUTE)
    assert "chat_template: true" in str(e.value.hint)
    assert e.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_that_the_server_separates_is_not_part_of_the_answer(
    served: Engine, fake: FakeChat, name: str
) -> None:
    ours = answers(served, reasoning=TAGS)
    fake.reasoning_field, fake.start, fake.end = name, TAGS.start, TAGS.end
    theirs = answers(served, reasoning=TAGS)
    assert ours == theirs
    assert {answer.reasoning_closed for answer in ours} == {True, False}
    assert all(answer.reasoning for answer in ours)


def test_reasoning_is_separated_as_in_the_transformers_engine_and_stop_strings_end_the_answer_only(
    served: Engine, fake: FakeChat, plain: Engine
) -> None:
    for stop in ((), ("five",), ("eats eats", "five five")):
        ours = answers(plain, reasoning=TAGS, stop=stop)
        theirs = answers(served, reasoning=TAGS, stop=stop)
        fields = ("text", "reasoning", "reasoning_closed", "finish_reason")
        assert [[getattr(a, f) for f in fields] for a in ours] == [[getattr(a, f) for f in fields] for a in theirs]
    assert "stop" not in sent(fake)


def test_the_route_of_completions_separates_reasoning_too(served: Engine, plain: Engine) -> None:
    prompts = [plain.render_chat(messages) for messages in CHATS]
    requests = [GenerateRequest(prompt, ("five",), 24, reasoning=TAGS) for prompt in prompts]
    ours, theirs = plain.generate_until(requests, silent), served.generate_until(requests, silent)
    assert [(a.text, a.reasoning, a.finish_reason) for a in ours] == [
        (a.text, a.reasoning, a.finish_reason) for a in theirs
    ]


def test_sampling_settings_are_sent_under_the_names_of_the_server(served: Engine, fake: FakeChat) -> None:
    options = {"temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.1, "repetition_penalty": 1.2, "seed": 7}
    expected = {**options, "frequency_penalty": 0, "presence_penalty": 0}
    answers(served, **options)
    assert {name: sent(fake)[name] for name in expected} == expected
    answers(served)
    assert (sent(fake)["top_k"], sent(fake)["min_p"], sent(fake)["repetition_penalty"]) == (-1, 0, 1)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("vllm", {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.2}),
        ("sglang", {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.2}),
        (
            "llama.cpp",
            {
                "top_k": 5,
                "min_p": 0.1,
                "repeat_penalty": 1.2,
                "repeat_last_n": 512,
                "samplers": ["penalties", "temperature", "top_k", "top_p", "min_p"],
            },
        ),
        ("unknown", {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.2}),
    ],
)
def test_each_server_has_its_names(kind: Any, expected: dict[str, Any]) -> None:
    server = Server(kind, "1", "m", 512, {})
    request = GenerateRequest("", (), 1, temperature=0.7, top_k=5, min_p=0.1, top_p=0.9, repetition_penalty=1.2, seed=4)
    body = sampling_options(server, request)
    assert {name: body[name] for name in expected} == expected
    assert (body["temperature"], body["top_p"], body["seed"]) == (0.7, 0.9, 4)
    greedy = sampling_options(server, GenerateRequest("", (), 1))
    assert not {"samplers", "repeat_last_n"} & greedy.keys()
    neutral = {"vllm": -1, "sglang": -1, "llama.cpp": 0, "unknown": None}[kind]
    assert greedy.get("top_k") == neutral


def test_a_server_without_a_setting_is_refused() -> None:
    server = Server("tgi", "3", "m", None, {})
    assert sampling_options(server, GenerateRequest("", (), 1, temperature=1.0, top_p=0.9))["top_p"] == 0.9
    with pytest.raises(
        EvaluationError, match="the server tgi has no top_k and no min_p in its OpenAI-compatible routes"
    ):
        sampling_options(server, GenerateRequest("", (), 1, temperature=1.0, top_k=3, min_p=0.1))


def test_an_unknown_server_gets_only_settings_that_have_an_effect(
    url: str, fake: FakeChat, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake.routes = ("/tokenize",)
    served = open_served(url, NAME, weights)
    answers(served, temperature=0.5)
    assert not {"top_k", "min_p", "repetition_penalty"} & sent(fake).keys()
    answers(served, temperature=0.5, top_k=4)
    assert sent(fake)["top_k"] == 4
    assert caplog.text.count("the server is of an unknown kind, and may ignore top_k") == 1


def test_a_refused_setting_is_named(url: str, fake: FakeChat, weights: Path) -> None:
    fake.refused = {"min_p": "Unrecognized request argument supplied: min_p"}
    fake.routes = ("/tokenize",)
    served = open_served(url, NAME, weights)
    with pytest.raises(
        EvaluationError, match=r"status 400: .*supplied: min_p\. .*The server does not accept: min_p 0\.1"
    ) as e:
        answers(served, temperature=0.5, min_p=0.1, top_k=3)
    assert "`sampling:`" in str(e.value.hint)
    fake.refused = {"top_k": "bad request"}
    with pytest.raises(EvaluationError, match=r"may not accept: top_k 3, temperature 0\.5"):
        answers(served, temperature=0.5, top_k=3)
    fake.refused = {"messages": "no chat"}
    with pytest.raises(EvaluationError, match=r"status 400: no chat$"):
        open_served(url, NAME, weights).render_chat(CHATS[0], ROUTE)


def test_newer_models_of_openai_get_the_length_under_its_new_name(url: str, fake: FakeChat, weights: Path) -> None:
    served = open_served(url, NAME, weights)
    before = texts(served)
    fake.refused = {"max_tokens": "Unsupported parameter: use 'max_completion_tokens' instead."}
    assert texts(served) == before
    assert sent(fake)["max_completion_tokens"] == 8


def test_kl_divergence_is_measured_after_a_chat_whose_prompt_is_known(url: str, served: Engine, plain: Engine) -> None:
    expected = answers(plain, top=10)
    measured = answers(served, top=10)
    for ours, theirs in zip(expected, measured, strict=True):
        assert ours.distribution is not None
        assert theirs.distribution is not None
        assert theirs.distribution.tokens == ours.distribution.tokens
    unknown = answers(open_served(url, NAME), top=10)
    assert all(answer.distribution is None for answer in unknown)


def test_a_reply_without_a_choice_or_without_text(served: Engine, fake: FakeChat) -> None:
    requests = requests_of(served)[:1]
    fake.faults = []
    original = fake.chat
    for reply, message in (
        ({"choices": []}, "without a choice"),
        ({"choices": [{"message": {"content": 3}}]}, "unexpected form: choices.0.message.content"),
        ({"choices": [{"message": {"content": "x"}, "finish_reason": "content_filter"}]}, "'content_filter'"),
    ):
        fake.chat = lambda _, reply=reply: (200, reply)  # type: ignore[method-assign]
        try:
            with pytest.raises(EvaluationError, match=message):
                served.generate_until(requests, silent)
            fake.chat = lambda _: (200, {"choices": [{"message": {"content": None}, "finish_reason": "stop"}]})  # type: ignore[method-assign]
            (answer,) = served.generate_until(requests, silent)
            assert (answer.text, answer.finish_reason, answer.reasoning) == ("", "stop", None)
        finally:
            fake.chat = original  # type: ignore[method-assign]


def test_an_answer_with_reasoning_only_is_not_closed(served: Engine, fake: FakeChat) -> None:
    requests = requests_of(served)[:1]
    original = fake.chat
    message = {"content": None, "reasoning": "so the answer"}
    fake.chat = lambda _: (200, {"choices": [{"message": message, "finish_reason": "length"}]})  # type: ignore[method-assign]
    try:
        (answer,) = served.generate_until(requests, silent)
    finally:
        fake.chat = original  # type: ignore[method-assign]
    assert (answer.text, answer.reasoning, answer.reasoning_closed) == ("", "so the answer", False)
    assert answer.finish_reason == "length"


def test_variables_that_the_template_rejects_are_named(plain: Engine) -> None:
    with pytest.raises(TaskError, match=r"chat: true, but the tokenizer of .* cannot render the chat") as caught:
        plain.render_chat(CHATS[0], ChatFormat('{"conversation":1}', route=True))
    assert 'Check chat_template_kwargs: {"conversation":1}' in str(caught.value.hint)
