"""Reasoning in generated tokens: where the answer begins, and which stop string ends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from gate.engines.hf.generation.sequence import TokenSequence, append_tokens, make_sequences
from gate.tasks.reasoning import ReasoningTags, separate, shortened
from gate.tasks.requests import GenerateAnswer, GenerateRequest

TAGS = ReasoningTags()
END = 1


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture(scope="module")
def special(tiny_model: Path) -> Any:
    """The tokenizer with tags that are special tokens, which decoding leaves out."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    return tokenizer


def generated(
    tokenizer: Any,
    text: str,
    stop: tuple[str, ...] = (),
    prompt: str = "the cat",
    tags: ReasoningTags | None = TAGS,
    limit: int = 400,
) -> tuple[TokenSequence, GenerateAnswer]:
    """Append the tokens of a text and an end token, as a model would generate them, until the sequence is finished."""
    request = GenerateRequest(prompt, stop, limit, reasoning=tags)
    (sequence,) = make_sequences(tokenizer, [request], [[3, 4]], [END])
    for token in [*tokenizer(text)["input_ids"], END]:
        if append_tokens(tokenizer, [sequence], [token])[0]:
            break
    return sequence, sequence.answer(tokenizer)


@pytest.mark.parametrize("name", ["tokenizer", "special"])
@pytest.mark.parametrize(
    ("text", "prompt", "stop", "answer", "reasoning", "closed"),
    [
        ("<think>one two</think>\n\nyes", "", (), "yes", "one two", True),
        ("<think>one\n\ntwo</think>\n\nyes\n\nno", "", ("\n\n",), "yes", "one\n\ntwo", True),
        ("\n<think>\none</think>yes", "", ("yes",), "", "one", True),
        ("one two</think> yes", "assistant:<think>\n", ("two",), "yes", "one two", True),
        ("one two", "assistant:<think>\n", ("two",), "", "one two", False),
        ("<think>one two", "", ("two",), "", "one two", False),
        ("yes <think>no</think>", "", (), "", "yes <think>no", True),
        ("yes one two", "", ("one",), "yes ", None, None),
        ("<thin cat one", "", ("one",), "<thin cat ", None, None),
        ("<think></think>yes", "", ("</think>",), "yes", "", True),
        ("yes", "the <think> cat", (), "yes", None, None),
        ("", "", ("x",), "", None, None),
    ],
)
def test_the_answer_follows_the_reasoning(
    request: pytest.FixtureRequest,
    name: str,
    text: str,
    prompt: str,
    stop: tuple[str, ...],
    answer: str,
    reasoning: str | None,
    closed: bool | None,
) -> None:
    sequence, result = generated(request.getfixturevalue(name), text, stop, prompt)
    assert (result.text, result.reasoning, result.reasoning_closed) == (answer, reasoning, closed)
    assert result.finish_reason == "stop"
    assert sequence.ended


def test_generation_ends_at_the_first_stop_string_of_the_answer(tokenizer: Any) -> None:
    text = "<think>one, two</think> three, four five six seven"
    sequence, result = generated(tokenizer, text, (",",))
    assert result.text == "three"
    assert tokenizer.decode(sequence.generated).endswith("three,")
    assert generated(tokenizer, text, (",",), tags=None)[1].text == "<think>one"


def test_a_text_that_reaches_its_length_was_not_stopped(tokenizer: Any) -> None:
    text = "<think>one two three</think> four"
    count = len(tokenizer(text)["input_ids"])
    for limit, reason, closed in ((count - 1, "length", True), (8, "length", False), (count, "length", True)):
        _, result = generated(tokenizer, text, limit=limit)
        assert (result.finish_reason, result.reasoning_closed, result.tokens_out) == (reason, closed, limit)
    _, result = generated(tokenizer, text, limit=count + 1)
    assert result.finish_reason == "stop"
    # a stop string in the last token that is allowed
    _, result = generated(tokenizer, text, ("four",), limit=count)
    assert (result.finish_reason, result.text) == ("stop", "")


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "\n", " ", "a", "one,", "two", "<", ">", "é🙂", "k>"]), max_size=12
    ),
    st.sampled_from([(), (",",), ("\n",), ("o", "<think>"), ("k>",)]),
)
def test_the_answer_is_that_of_the_whole_text_cut_at_its_first_stop_string(
    tokenizer: Any, parts: list[str], stop: tuple[str, ...]
) -> None:
    text = "".join(parts)
    whole = separate(text, TAGS)
    _, result = generated(tokenizer, text, stop)
    ends = [index for each in stop if (index := whole.answer.find(each)) >= 0]
    expected = whole.answer[: min(ends)] if ends else whole.answer
    if whole.closed or not text.lstrip().startswith("<think>"):
        # a text without a start tag ends at a stop string, before a later end tag can be seen
        assert result.text == expected or (whole.closed and result.reasoning is None)
    else:
        assert (result.text, result.reasoning_closed) == ("", False)


@given(st.text(alphabet="ab<>/think \n", max_size=60), st.booleans())
def test_no_character_is_lost_but_white_space_and_tags(text: str, opened: bool) -> None:
    parts = separate(text, TAGS, opened)
    if parts.reasoning is None:
        assert (parts.answer, parts.closed) == (text, None)
        return
    kept = parts.reasoning + parts.answer
    assert "".join(kept.split()) == "".join(
        text.lstrip().removeprefix(TAGS.start).replace(TAGS.end, "", 1).split()
    ) or text.lstrip().startswith(TAGS.start + TAGS.end)
    assert parts.closed is (TAGS.end in text)
    assert parts.answer == parts.answer.lstrip()


def test_long_reasoning_is_stored_with_its_beginning_and_end() -> None:
    stored = shortened("begin" + "x" * 10_000 + "end")
    assert stored.startswith("begin")
    assert stored.endswith("end")
    assert "8008 characters are left out" in stored
    assert len(stored) < 2100
    assert shortened("short") == "short"
