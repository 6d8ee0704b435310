"""Texts that share a batch: the same as one at a time, by every architecture, whatever memory there is."""

from __future__ import annotations

import gc
import json
import logging
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.opened import open_model, silent
from support.writers import (
    BEHIND,
    BLOCK,
    LONG,
    PAGED,
    PROMPTS,
    REQUESTS,
    SIZES,
    STATIC,
    WORDS,
    greedy,
    texts,
    write_model,
    write_paged,
)

from gate.engines import GenerateRequest
from gate.engines.hf.generation.pages import _Layer
from gate.engines.hf.generation.room import automatic_text_tokens
from gate.errors import EvaluationError


@pytest.mark.parametrize("name", PAGED)
def test_the_text_is_that_of_greedy_decoding_one_at_a_time(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    folder, attention = write_paged(tiny_model, tmp_path, name)
    expected = None
    for tokens in (1, 150, 500, 100_000):
        engine = open_model(folder, {"max_batch_tokens": tokens, **attention})
        expected = expected or [greedy(engine, request) for request in REQUESTS]
        with caplog.at_level(logging.INFO, logger="gate"):
            assert texts(engine) == expected
    assert len(set(expected or [])) > 5
    assert "static batches" not in caplog.text


@pytest.mark.parametrize("name", STATIC)
def test_an_architecture_without_plain_keys_and_values_is_asked_in_static_batches_and_says_so(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    folder = write_model(tiny_model, tmp_path, *STATIC[name])
    engine = open_model(folder, {"max_batch_tokens": 300})
    with caplog.at_level(logging.INFO, logger="gate"):
        found = texts(engine)
    assert found == [greedy(engine, request) for request in REQUESTS]
    assert "12 of 12 texts are generated in static batches: it" in caplog.text
    assert ("one text at a time" in caplog.text) is ("rwkv" in name or "bart" in name)


def test_only_texts_that_may_outgrow_a_sliding_window_are_asked_in_static_batches(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_model(write_model(tiny_model, tmp_path, "Mistral", {"sliding_window": 40}))
    with caplog.at_level(logging.INFO, logger="gate"):
        assert texts(engine) == [greedy(engine, request) for request in REQUESTS]
    assert (
        "of 12 texts are generated in static batches: they may become longer than the 40 tokens"
        in caplog.text
    )
    assert "12 of 12" not in caplog.text


def test_rotary_embeddings_that_depend_on_the_longest_text_bound_the_texts(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rope = {
        "rope_type": "dynamic",
        "factor": 4.0,
        "rope_theta": 10000.0,
        "original_max_position_embeddings": 40,
    }
    engine = open_model(write_model(tiny_model, tmp_path, "Llama", {"rope_parameters": rope}))
    with caplog.at_level(logging.INFO, logger="gate"):
        texts(engine)
    assert "longer than the 40 tokens" in caplog.text


def room_for(engine: Any, rows: int) -> list[int]:
    """Let the model run out of memory on batches of more rows; return a list that grows by each batch that fits."""
    seen: list[int] = []

    def refuse(_: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        given = len(options["input_ids"] if "input_ids" in options else args[0])
        if given > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        seen.append(given)

    engine._loaded.model.register_forward_pre_hook(refuse, with_kwargs=True)
    return seen


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_out_of_memory_shrinks_the_batch_and_loses_no_text(
    tiny_model: Path, caplog: pytest.LogCaptureFixture, rows: int
) -> None:
    expected = open_model(tiny_model).generate_until(REQUESTS, silent)
    engine = open_model(tiny_model, {"max_batch_tokens": 2000})
    engine.generate_until(REQUESTS[:1], silent)
    seen = room_for(engine, rows)
    told: list[int] = []
    assert engine.generate_until(REQUESTS, told.append) == expected
    assert sum(told) == len(REQUESTS)
    assert max(seen) <= rows
    assert "out of memory: batches are now at most" in caplog.text


def test_out_of_memory_ends_at_one_text_at_a_time_however_long_texts_may_become(tiny_model: Path) -> None:
    requests = [
        GenerateRequest(f"the cat {word}", (), 200) for word in ("a", "b", "sees", "runs", "is", "red")
    ]
    expected = open_model(tiny_model).generate_until(requests, silent)
    engine: Any = open_model(tiny_model, {"max_batch_tokens": 4000})
    engine.generate_until(REQUESTS[:1], silent)
    seen = room_for(engine, 1)
    assert engine.generate_until(requests, silent) == expected
    assert max(seen) == 1


@pytest.mark.parametrize("most", [600, 20])
def test_a_cache_that_cannot_be_made_is_halved_until_it_can(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    folder = write_model(tiny_model, tmp_path, "Llama", {})
    requests = [GenerateRequest(f"{LONG}Q : {word} big", (), 40) for word in WORDS]
    expected = open_model(folder).generate_until(requests, silent)
    engine: Any = open_model(folder, {"max_batch_tokens": 8000})
    engine.generate_until(requests[:2], silent)  # the probes
    own = _Layer.lazy_initialization

    def refuse(layer: _Layer, *given: torch.Tensor) -> None:
        if layer._pages * layer._size > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        own(layer, *given)

    monkeypatch.setattr(_Layer, "lazy_initialization", refuse)
    if most < 100:
        with pytest.raises(EvaluationError, match="out of memory with a single text"):
            engine.generate_until(requests, silent)
        return
    assert engine.generate_until(requests, silent) == expected
    assert engine._texts.tokens > 200  # of what would have fitted a part, not what one prompt takes


def test_out_of_memory_in_mid_text_keeps_what_was_written(tiny_model: Path) -> None:
    requests = [GenerateRequest(prompt, (), 24, 1.0, 3) for prompt in PROMPTS]
    expected = open_model(tiny_model).generate_until(requests, silent)
    engine: Any = open_model(tiny_model, {"max_batch_tokens": 4000})
    engine.generate_until(requests[:1], silent)
    passes: list[int] = []

    def refuse(*_: Any) -> None:
        passes.append(1)
        if len(passes) in (12, 30):
            raise torch.OutOfMemoryError("CUDA out of memory.")

    engine._loaded.model.register_forward_pre_hook(refuse)
    assert engine.generate_until(requests, silent) == expected


def test_a_single_text_that_does_not_fit_is_an_error(tiny_model: Path) -> None:
    engine = open_model(tiny_model)
    engine.generate_until(REQUESTS[:1], silent)
    room_for(engine, 0)
    with pytest.raises(EvaluationError, match="out of memory with a single text of 3 tokens"):
        engine.generate_until([GenerateRequest("the cat runs", (), 8)], silent)


def test_the_room_of_a_text_is_filled_again_as_soon_as_it_has_ended(tiny_model: Path) -> None:
    engine: Any = open_model(tiny_model, {"max_batch_tokens": 4 * 48})
    engine.generate_until(REQUESTS[:1], silent)
    rows: list[int] = []

    def count(_: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        if options["input_ids"].shape[1] == 1:
            rows.append(len(options["input_ids"]))

    engine._loaded.model.register_forward_pre_hook(count, with_kwargs=True)
    limits = [40, *[4] * 30]
    engine.generate_until([GenerateRequest("the cat sees", (), limit) for limit in limits], silent)
    # batches of four that wait for their slowest need 40 + 7 x 4 steps
    assert len(rows) <= 45
    assert sum(rows) == sum(limits)


def test_what_prompts_share_is_read_once(tiny_model: Path) -> None:
    engine: Any = open_model(tiny_model, {"max_batch_tokens": 1200})
    engine.generate_until(REQUESTS[:1], silent)
    read: list[int] = []

    def count(_: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        if options["input_ids"].shape[1] > 1:
            read.append(options["input_ids"].numel())

    engine._loaded.model.register_forward_pre_hook(count, with_kwargs=True)
    colours = ["red", "green", "blue", "big", "small"] * 4
    requests = [GenerateRequest(f"{BLOCK}Q : What is {colour} ?\nA :", (), 4) for colour in colours]
    answers = engine.generate_until(requests, silent)
    tokens = sum(answer.tokens_in for answer in answers)
    assert sum(read) < tokens / 6


@pytest.mark.parametrize("tokens", [90, 300, 2000])
def test_memory_stays_within_the_bound(tiny_model: Path, tokens: int) -> None:
    engine: Any = open_model(tiny_model, {"max_batch_tokens": tokens})
    engine.generate_until(REQUESTS[:1], silent)
    held: list[tuple[int, int]] = []

    def measure(_: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        cache = options["past_key_values"]
        layer = cache.layers[0]
        size = layer.keys.shape[0] * layer.keys.shape[1] if layer.is_initialized else 0
        held.append((len(options["input_ids"]), size))

    engine._loaded.model.register_forward_pre_hook(measure, with_kwargs=True)
    engine.generate_until(REQUESTS, silent)
    longest = max(len(engine._loaded.tokenizer(one.context).input_ids) + one.max_tokens for one in REQUESTS)
    page = 16
    # beside the bound: what a single text takes at least, a page of its own where a prefix ends, and padding's
    assert max(size for _, size in held) <= max(tokens, longest + 2 * page) + page
    assert max(rows for rows, _ in held) > (1 if tokens > 100 else 0)


@pytest.mark.parametrize("tokens", [600, 1500, 4000])
def test_what_a_pass_copies_stays_within_half_of_the_bound(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    engine: Any = open_model(write_model(tiny_model, tmp_path, "Llama", {}), {"max_batch_tokens": tokens})
    engine.generate_until(BEHIND[:2], silent)  # the probes
    copied: list[tuple[int, float]] = []
    own = _Layer.update

    def measure(layer: _Layer, *given: Any, **named: Any) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = own(layer, *given, **named)
        if keys is not given[0]:
            copied.append((len(keys), len(keys) * keys.shape[2] / SIZES["num_hidden_layers"]))
        return keys, values

    monkeypatch.setattr(_Layer, "update", measure)
    requests = [
        GenerateRequest(f"{start}Q : {word} big", (), 30) for start in (LONG, BLOCK) for word in WORDS
    ]
    engine.generate_until(requests, silent)
    assert max(size for rows, size in copied if rows > 1) <= tokens / 2
    assert max(rows for rows, _ in copied) > 2


def test_the_memory_of_a_call_is_given_back_at_its_end(tiny_model: Path) -> None:
    engine: Any = open_model(tiny_model)
    engine.generate_until(REQUESTS[:1], silent)
    caches: list[weakref.ref[Any]] = []
    engine._loaded.model.register_forward_pre_hook(
        lambda _, __, options: caches.append(weakref.ref(options["past_key_values"])), with_kwargs=True
    )
    gc.disable()  # cycles would live on
    try:
        engine.generate_until(REQUESTS, silent)
        assert caches
        assert all(cache() is None for cache in caches)
    finally:
        gc.enable()


def test_the_automatic_bound_is_a_power_of_two_that_holds_many_texts(tiny_model: Path) -> None:
    engine: Any = open_model(tiny_model)
    tokens = automatic_text_tokens(engine._loaded)
    assert tokens == 16384  # of a model this small memory never is the bound


def breaks(engine: Any) -> None:
    with torch.no_grad():
        engine._loaded.model.lm_head.weight[5] = torch.nan


@pytest.mark.parametrize("when", ["before the probe", "after the probe"])
def test_logits_that_are_not_numbers_are_refused(tiny_model: Path, when: str) -> None:
    engine = open_model(tiny_model)
    run: Callable[[], list[str]] = lambda: texts(engine)  # noqa: E731
    if when == "after the probe":
        run()
    breaks(engine)
    with pytest.raises(EvaluationError, match="not numbers"):
        run()


@pytest.mark.slow
def test_a_real_model_writes_the_same_texts_in_a_batch_as_alone(smollm2: Path, shared_data: Path) -> None:
    lines = (shared_data / "bigbench" / "qa_wikidata.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines[::300]]
    block = "".join(f"{row['question']} {row['answers'][0]}.\n" for row in rows[:4])
    requests = [GenerateRequest(f"{block}{row['question']}", ("\n",), 12) for row in rows[4:]]
    requests += [GenerateRequest(row["question"], (".",), 24) for row in rows[:4]]
    together = open_model(smollm2, {"max_batch_tokens": 600}, dtype="float32")
    answers = together.generate_until(requests, silent)
    alone = open_model(smollm2, {"max_batch_tokens": 1}, dtype="float32")
    assert answers == [alone.generate_until([request], silent)[0] for request in requests]
    assert [answer.text for answer in answers[::4]] == [greedy(alone, request) for request in requests[::4]]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_rounding_in_16_bits_is_not_taken_for_a_wrong_cache(
    tiny_model: Path, caplog: pytest.LogCaptureFixture, dtype: str
) -> None:
    with caplog.at_level(logging.INFO, logger="gate"):
        assert len(texts(open_model(tiny_model, dtype=dtype))) == len(REQUESTS)
    assert "static batches" not in caplog.text
