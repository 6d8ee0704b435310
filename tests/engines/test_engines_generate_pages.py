"""A batch gives the same texts as one request at a time, for every architecture and with any amount of memory."""

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
from support.exhaustive import mostly_exhaustive
from support.opened import open_model, silent
from support.writers import (
    LONG_PREFIX,
    LONG_PREFIX_REQUESTS,
    PAGED,
    PROMPTS,
    REQUESTS,
    SHORT_PREFIX,
    SIZES,
    STATIC,
    WORDS,
    generated_texts,
    greedy_text,
    write_model,
    write_paged,
)

from gate.engines.hf.generation.paged_cache import PagedLayer
from gate.engines.hf.generation.token_budget import automatic_token_budget
from gate.errors import EvaluationError
from gate.tasks.requests import GenerateRequest


@pytest.mark.parametrize(
    "name",
    mostly_exhaustive(
        PAGED, ("llama", "opt, shifted positions", "gpt-oss, sinks and experts", "falcon, parallel layers")
    ),
)
def test_the_text_is_that_of_greedy_decoding_one_at_a_time(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    folder, attention = write_paged(tiny_model, tmp_path, name)
    expected = None
    for tokens in (1, 150, 100_000):
        engine = open_model(folder, {"max_batch_tokens": tokens, **attention})
        expected = expected or [greedy_text(engine, request) for request in REQUESTS]
        with caplog.at_level(logging.INFO, logger="gate"):
            assert generated_texts(engine) == expected
    assert len(set(expected or [])) > 5
    assert "static batches" not in caplog.text


@pytest.mark.parametrize(
    "name", mostly_exhaustive(STATIC, ("bloom, alibi", "mamba, recurrent", "rwkv, recurrent, no mask"))
)
def test_an_architecture_without_plain_keys_and_values_uses_static_batches_and_logs_why(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    folder = write_model(tiny_model, tmp_path, *STATIC[name])
    engine = open_model(folder, {"max_batch_tokens": 300})
    with caplog.at_level(logging.INFO, logger="gate"):
        generated = generated_texts(engine)
    assert generated == [greedy_text(engine, request) for request in REQUESTS]
    assert "12 of 12 sequences are generated in static batches: it" in caplog.text
    assert ("the batch size is 1" in caplog.text) is ("rwkv" in name or "bart" in name)


def test_only_sequences_that_may_outgrow_a_sliding_window_use_static_batches(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_model(write_model(tiny_model, tmp_path, "Mistral", {"sliding_window": 40}))
    with caplog.at_level(logging.INFO, logger="gate"):
        assert generated_texts(engine) == [greedy_text(engine, request) for request in REQUESTS]
    assert "of 12 sequences are generated in static batches: they may become longer than the 40 tokens" in caplog.text
    assert "12 of 12" not in caplog.text


def test_sequences_that_may_outgrow_dynamic_rotary_embeddings_use_static_batches(
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
        generated_texts(engine)
    assert "longer than the 40 tokens" in caplog.text


def limit_rows(engine: Any, rows: int) -> list[int]:
    """Raise out-of-memory errors for batches of more rows; return a list of the rows of each batch that fits."""
    batches: list[int] = []

    def refuse(_: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        count = len(options["input_ids"] if "input_ids" in options else args[0])
        if count > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        batches.append(count)

    engine._loaded.model.register_forward_pre_hook(refuse, with_kwargs=True)
    return batches


@pytest.mark.parametrize("rows", [1, 5])
def test_out_of_memory_shrinks_the_batch_and_loses_no_request(
    tiny_model: Path, caplog: pytest.LogCaptureFixture, rows: int
) -> None:
    expected = open_model(tiny_model).generate_until(REQUESTS, silent)
    engine = open_model(tiny_model, {"max_batch_tokens": 2000})
    engine.generate_until(REQUESTS[:1], silent)
    batches = limit_rows(engine, rows)
    reported: list[int] = []
    assert engine.generate_until(REQUESTS, reported.append) == expected
    assert sum(reported) == len(REQUESTS)
    assert max(batches) <= rows
    assert "out of memory: batches are now at most" in caplog.text


def test_the_batch_shrinks_to_a_single_sequence_however_long_sequences_may_become(tiny_model: Path) -> None:
    requests = [GenerateRequest(f"the cat {word}", (), 120) for word in ("a", "b", "sees", "runs")]
    expected = open_model(tiny_model).generate_until(requests, silent)
    engine: Any = open_model(tiny_model, {"max_batch_tokens": 4000})
    engine.generate_until(REQUESTS[:1], silent)
    batches = limit_rows(engine, 1)
    assert engine.generate_until(requests, silent) == expected
    assert max(batches) == 1


@pytest.mark.parametrize("most", [600, 20])
def test_a_cache_that_cannot_be_allocated_is_halved_until_it_fits(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    folder = write_model(tiny_model, tmp_path, "Llama", {})
    requests = [GenerateRequest(f"{LONG_PREFIX}Q : {word} big", (), 40) for word in WORDS]
    expected = open_model(folder).generate_until(requests, silent)
    engine: Any = open_model(folder, {"max_batch_tokens": 8000})
    engine.generate_until(requests[:2], silent)  # the probes
    original = PagedLayer.lazy_initialization

    def refuse(layer: PagedLayer, *states: torch.Tensor) -> None:
        if layer.num_pages * layer.page_size > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        original(layer, *states)

    monkeypatch.setattr(PagedLayer, "lazy_initialization", refuse)
    if most < 100:
        with pytest.raises(EvaluationError, match="out of memory with a single sequence"):
            engine.generate_until(requests, silent)
        return
    assert engine.generate_until(requests, silent) == expected
    assert engine._generation_limit.tokens > 200  # halved from what did not fit, not reduced to one prompt


def test_out_of_memory_during_decoding_keeps_the_generated_tokens(tiny_model: Path) -> None:
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


def test_a_single_sequence_that_does_not_fit_is_an_error(tiny_model: Path) -> None:
    engine = open_model(tiny_model)
    engine.generate_until(REQUESTS[:1], silent)
    limit_rows(engine, 0)
    with pytest.raises(EvaluationError, match="out of memory with a single sequence of 3 tokens"):
        engine.generate_until([GenerateRequest("the cat runs", (), 8)], silent)


def test_the_pages_of_a_finished_sequence_are_reused_immediately(tiny_model: Path) -> None:
    engine: Any = open_model(tiny_model, {"max_batch_tokens": 4 * 48})
    engine.generate_until(REQUESTS[:1], silent)
    rows: list[int] = []

    def count(_: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        if options["input_ids"].shape[1] == 1:
            rows.append(len(options["input_ids"]))

    engine._loaded.model.register_forward_pre_hook(count, with_kwargs=True)
    limits = [40, *[4] * 30]
    engine.generate_until([GenerateRequest("the cat sees", (), limit) for limit in limits], silent)
    # static batches of four would need 40 + 7 x 4 steps
    assert len(rows) <= 45
    assert sum(rows) == sum(limits)


def test_a_shared_prefix_is_computed_once(tiny_model: Path) -> None:
    engine: Any = open_model(tiny_model, {"max_batch_tokens": 1200})
    engine.generate_until(REQUESTS[:1], silent)
    prefilled: list[int] = []

    def count(_: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        if options["input_ids"].shape[1] > 1:
            prefilled.append(options["input_ids"].numel())

    engine._loaded.model.register_forward_pre_hook(count, with_kwargs=True)
    colours = ["red", "green", "blue", "big", "small"] * 4
    requests = [GenerateRequest(f"{SHORT_PREFIX}Q : What is {colour} ?\nA :", (), 4) for colour in colours]
    answers = engine.generate_until(requests, silent)
    tokens = sum(answer.tokens_in for answer in answers)
    assert sum(prefilled) < tokens / 6


@pytest.mark.parametrize("tokens", [90, 300, 2000])
def test_the_cache_stays_within_the_token_budget(tiny_model: Path, tokens: int) -> None:
    engine: Any = open_model(tiny_model, {"max_batch_tokens": tokens})
    engine.generate_until(REQUESTS[:1], silent)
    passes: list[tuple[int, int]] = []  # rows, tokens of the cache

    def measure(_: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        cache = options["past_key_values"]
        layer = cache.layers[0]
        size = layer.keys.shape[0] * layer.keys.shape[1] if layer.is_initialized else 0
        passes.append((len(options["input_ids"]), size))

    engine._loaded.model.register_forward_pre_hook(measure, with_kwargs=True)
    engine.generate_until(REQUESTS, silent)
    longest = max(len(engine._loaded.tokenizer(r.context).input_ids) + r.max_tokens for r in REQUESTS)
    page = 16
    # a single sequence always fits; the page in which a prefix ends is held twice; the padding page is extra
    assert max(size for _, size in passes) <= max(tokens, longest + 2 * page) + page
    assert max(rows for rows, _ in passes) > (1 if tokens > 100 else 0)


@pytest.mark.parametrize("tokens", [600, 4000])
def test_a_pass_copies_at_most_half_of_the_token_budget(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    engine: Any = open_model(write_model(tiny_model, tmp_path, "Llama", {}), {"max_batch_tokens": tokens})
    engine.generate_until(LONG_PREFIX_REQUESTS[:2], silent)  # the probes
    copied: list[tuple[int, float]] = []
    original = PagedLayer.update

    def measure(layer: PagedLayer, *states: Any, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = original(layer, *states, **options)
        if keys is not states[0]:
            copied.append((len(keys), len(keys) * keys.shape[2] / SIZES["num_hidden_layers"]))
        return keys, values

    monkeypatch.setattr(PagedLayer, "update", measure)
    requests = [
        GenerateRequest(f"{start}Q : {word} big", (), 30) for start in (LONG_PREFIX, SHORT_PREFIX) for word in WORDS
    ]
    engine.generate_until(requests, silent)
    assert max(size for rows, size in copied if rows > 1) <= tokens / 2
    assert max(rows for rows, _ in copied) > 2


def test_the_memory_of_a_call_is_freed_at_its_end(tiny_model: Path) -> None:
    engine: Any = open_model(tiny_model)
    engine.generate_until(REQUESTS[:1], silent)
    caches: list[weakref.ref[Any]] = []
    engine._loaded.model.register_forward_pre_hook(
        lambda _, __, options: caches.append(weakref.ref(options["past_key_values"])), with_kwargs=True
    )
    gc.disable()  # reference cycles would survive
    try:
        engine.generate_until(REQUESTS, silent)
        assert caches
        assert all(cache() is None for cache in caches)
    finally:
        gc.enable()


def test_the_automatic_token_budget_is_a_power_of_two(tiny_model: Path) -> None:
    engine: Any = open_model(tiny_model)
    tokens = automatic_token_budget(engine._loaded)
    assert tokens == 16384  # memory is never the limit for a model this small


def set_nan(engine: Any) -> None:
    with torch.no_grad():
        engine._loaded.model.lm_head.weight[5] = torch.nan


@pytest.mark.parametrize("when", ["before the probe", "after the probe"])
def test_nan_logits_are_an_error(tiny_model: Path, when: str) -> None:
    engine = open_model(tiny_model)
    run: Callable[[], list[str]] = lambda: generated_texts(engine)  # noqa: E731
    if when == "after the probe":
        run()
    set_nan(engine)
    with pytest.raises(EvaluationError, match="not numbers"):
        run()


@pytest.mark.exhaustive
def test_a_real_model_generates_the_same_texts_in_a_batch_as_alone(smollm2: Path, shared_data: Path) -> None:
    lines = (shared_data / "bigbench" / "qa_wikidata.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines[::300]]
    block = "".join(f"{row['question']} {row['answers'][0]}.\n" for row in rows[:4])
    requests = [GenerateRequest(f"{block}{row['question']}", ("\n",), 12) for row in rows[4:]]
    requests += [GenerateRequest(row["question"], (".",), 24) for row in rows[:4]]
    together = open_model(smollm2, {"max_batch_tokens": 600}, dtype="float32")
    answers = together.generate_until(requests, silent)
    alone = open_model(smollm2, {"max_batch_tokens": 1}, dtype="float32")
    assert answers == [alone.generate_until([request], silent)[0] for request in requests]
    assert [answer.text for answer in answers[::4]] == [greedy_text(alone, request) for request in requests[::4]]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bit_rounding_is_not_mistaken_for_a_wrong_cache(
    tiny_model: Path, caplog: pytest.LogCaptureFixture, dtype: str
) -> None:
    with caplog.at_level(logging.INFO, logger="gate"):
        assert len(generated_texts(open_model(tiny_model, dtype=dtype))) == len(REQUESTS)
    assert "static batches" not in caplog.text
