"""Greedy generation: the same text alone and in a batch, and where it stops."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from support.opened import open_model, silent

from gate.engines import Engine
from gate.engines.hf.generation.sequence import append_tokens, make_sequences
from gate.tasks.requests import GenerateRequest

PROMPTS = [
    "the cat", "Q : What colour is the fish ?\nA :", "one two three", "a", "", "日本 🐈", "big big big big dog",
    "yes", "no no", "What animal sees the bird ? A :", "red green", "\n",
]  # fmt: skip


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Engine:
    return open_model(tiny_model)


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


def generate(engine: Engine, prompts: list[str], *stop: str, max_tokens: int = 24) -> list[str]:
    requests = [GenerateRequest(prompt, stop, max_tokens) for prompt in prompts]
    return [answer.text for answer in engine.generate_until(requests, silent)]


def greedy(folder: Path, prompt: str, tokens: int) -> list[int]:
    """Return the tokens by the definition of greedy decoding, without EOS."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    ids = tokenizer(prompt, add_special_tokens=False).input_ids or [tokenizer.bos_token_id]
    generated: list[int] = []
    while len(generated) < tokens:
        with torch.no_grad():
            best = int(model(torch.tensor([ids + generated])).logits[0, -1].argmax())
        if best == tokenizer.eos_token_id:
            break
        generated.append(best)
    return generated


@pytest.mark.parametrize("prompt", PROMPTS[:5])
def test_the_text_is_that_of_greedy_decoding(engine: Engine, tiny_model: Path, tokenizer: Any, prompt: str) -> None:
    expected = tokenizer.decode(greedy(tiny_model, prompt, 24), skip_special_tokens=True)
    assert generate(engine, [prompt]) == [expected]


@pytest.mark.parametrize(
    ("stop", "options"),
    [
        ((), {}),
        (("e",), {"max_batch_tokens": 60}),
        ((" ", "\n"), {}),
    ],
)
def test_a_batch_gives_the_texts_and_counts_of_one_at_a_time(
    engine: Engine, tiny_model: Path, stop: tuple[str, ...], options: dict[str, int]
) -> None:
    requests = [GenerateRequest(prompt, stop, 12) for prompt in PROMPTS]
    together = open_model(tiny_model, options).generate_until(requests, silent)
    assert together == [engine.generate_until([request], silent)[0] for request in requests]
    assert len({answer.text for answer in together}) > 6


def test_padding_with_a_token_other_than_eos_is_not_counted(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"pad_token": "<s>"}), encoding="utf-8")
    engine = open_model(folder)
    requests = [GenerateRequest(prompt, ("e",), 12) for prompt in PROMPTS]
    together = engine.generate_until(requests, silent)
    assert together == [engine.generate_until([request], silent)[0] for request in requests]
    assert len({answer.tokens_out for answer in together}) > 2


def test_the_text_ends_before_the_first_stop_string(engine: Engine) -> None:
    (whole,) = generate(engine, ["the cat"])
    first, second = whole[6], whole[3:5]
    assert generate(engine, ["the cat"], first) == [whole[: whole.index(first)]]
    assert generate(engine, ["the cat"], first, second) == [whole[: min(whole.index(first), whole.index(second))]]
    assert generate(engine, ["the cat"], "never generated") == [whole]


def test_generation_stops_soon_after_a_stop_string(engine: Engine) -> None:
    (whole,) = engine.generate_until([GenerateRequest("the cat", (), 24)], silent)
    early = whole.text[3]
    (stopped,) = engine.generate_until([GenerateRequest("the cat", (early,), 24)], silent)
    assert stopped.tokens_out < whole.tokens_out


def test_a_stop_string_that_starts_in_the_prompt_does_not_stop(engine: Engine) -> None:
    (whole,) = generate(engine, ["the cat"])
    straddling = "cat" + whole[0]
    assert straddling not in whole
    assert generate(engine, ["the cat"], straddling) == [whole]


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_at_most_max_tokens_are_generated(engine: Engine, tiny_model: Path, tokenizer: Any, limit: int) -> None:
    (answer,) = engine.generate_until([GenerateRequest("the cat", (), limit)], silent)
    assert answer.tokens_out == limit
    assert answer.text == tokenizer.decode(greedy(tiny_model, "the cat", limit), skip_special_tokens=True)
    assert answer.tokens_in == len(tokenizer("the cat").input_ids)


@pytest.mark.parametrize("as_list", [False, True])
def test_an_eos_token_ends_the_text_and_is_not_part_of_it(
    tiny_model: Path, tmp_path: Path, tokenizer: Any, as_list: bool
) -> None:
    tokens = greedy(tiny_model, "the cat", 12)
    end = next(n for n in range(3, 12) if tokens[n] not in tokens[:n])
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    for name in ("config.json", "generation_config.json"):
        config = json.loads((folder / name).read_text(encoding="utf-8"))
        config["eos_token_id"] = [1, tokens[end]] if as_list else tokens[end]
        (folder / name).write_text(json.dumps(config), encoding="utf-8")
    (answer,) = open_model(folder).generate_until([GenerateRequest("the cat", (), 24)], silent)
    assert answer.text == tokenizer.decode(tokens[:end], skip_special_tokens=True)
    assert answer.tokens_out == end


def test_a_prompt_that_is_too_long_is_truncated_on_the_left_with_a_warning(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    tail = " the cat sees" * 120
    with caplog.at_level(logging.WARNING):
        answers = engine.generate_until(
            [GenerateRequest(start + tail, (), 16) for start in ("dog", "big fish")], silent
        )
    assert answers[0].text == answers[1].text
    assert {answer.tokens_in for answer in answers} == {240}
    assert caplog.messages == [
        "2 of 2 prompts are truncated on the left: the model reads at most 256 tokens, and up to 16 are generated"
    ]


def test_progress_counts_every_request_and_no_requests_give_no_answers(tiny_model: Path) -> None:
    reported: list[int] = []
    engine = open_model(tiny_model, {"max_batch_tokens": 90})
    engine.generate_until([GenerateRequest(prompt, (), 4) for prompt in PROMPTS], reported.append)
    assert sum(reported) == len(PROMPTS)
    assert engine.generate_until([], silent) == []


def test_requests_of_one_call_may_differ_in_everything(engine: Engine, tiny_model: Path) -> None:
    requests = [
        GenerateRequest(prompt, (("e",), (), (" ", "a"))[number % 3], 3 + number, 0.8 * (number % 2), number)
        for number, prompt in enumerate(PROMPTS)
    ]
    together = open_model(tiny_model, {"max_batch_tokens": 80}).generate_until(requests, silent)
    assert together == [engine.generate_until([request], silent)[0] for request in requests]


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("one two three", "o t", "one two"),  # across tokens
        ("fish 日本 🐈 dog", "本 🐈", "fish 日本 🐈"),  # characters of three and four tokens each
        ("a\n\nb", "\n\n", "a\n\n"),
        ("a b", "never", "a b"),
    ],
)
def test_generation_stops_with_the_token_that_completes_the_stop_string(
    tokenizer: Any, text: str, stop: str, expected: str
) -> None:
    ids = tokenizer(text, add_special_tokens=False).input_ids
    (sequence,) = make_sequences(tokenizer, [GenerateRequest("x", (stop,), 99)], [[3]], [1])
    for token in ids:
        if append_tokens(tokenizer, [sequence], [token])[0]:
            break
    generated = tokenizer.decode(sequence.generated)
    assert generated.startswith(expected)
    assert (stop in text) == (stop in generated)
    assert stop not in tokenizer.decode(sequence.generated[:-1])
    assert sequence.answer(tokenizer).text == text.partition(stop)[0]


def test_a_special_token_as_a_stop_string_ends_the_text(
    engine: Engine, tiny_model: Path, tmp_path: Path, tokenizer: Any
) -> None:
    tokens = greedy(tiny_model, "the cat", 24)
    end = next(n for n in range(3, 24) if tokens[n] not in tokens[:n])
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    name = tokenizer.convert_ids_to_tokens(tokens[end])
    entry = {"id": tokens[end], "content": name, "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    content["added_tokens"].append(entry | flags)
    file.write_text(json.dumps(content), encoding="utf-8")
    (answer,) = open_model(folder).generate_until([GenerateRequest("the cat", (name,), 24)], silent)
    assert answer.tokens_out == end
