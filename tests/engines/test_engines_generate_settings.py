"""top_k, top_p, min_p and the repetition penalty mean what they mean in transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from support.opened import open_model, silent
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, LogitsProcessorList

from gate.engines import Engine
from gate.engines.hf.generation.sampling import noise_key, processed, sample
from gate.engines.hf.generation.sequence import make_sequences
from gate.engines.hf.generation.static_batching import generate_static
from gate.engines.hf.model.batching import BatchLimit
from gate.tasks.requests import GenerateRequest

VOCABULARY = 40
OPTIONS: list[dict[str, Any]] = [
    {"temperature": 0.7, "top_k": 5},
    {"temperature": 1.3, "top_p": 0.6},
    {"temperature": 1.0, "min_p": 0.2},
    {"temperature": 0.9, "repetition_penalty": 1.8},
    {"temperature": 1.5, "top_k": 12, "top_p": 0.8, "min_p": 0.05, "repetition_penalty": 1.2},
    {"temperature": 0.0, "repetition_penalty": 1.5},
    {"temperature": 1.0},
]


def request(**options: Any) -> GenerateRequest:
    return GenerateRequest("", (), 1, **options)


@pytest.fixture(scope="module")
def tiny_llama() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    return LlamaForCausalLM(config)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    temperature=st.sampled_from([0.1, 0.7, 1.0, 2.5]),
    top_k=st.sampled_from([0, 1, 3, 39, 100]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
    penalty=st.sampled_from([1.0, 1.3, 0.6]),
)
def test_the_distribution_is_that_of_the_processors_that_transformers_itself_would_apply(
    tiny_llama: LlamaForCausalLM,
    seed: int,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    penalty: float,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((2, VOCABULARY), generator=generator) * 4
    logits[0, :5] = logits[0, 5]  # ties
    tokens = torch.randint(VOCABULARY, (2, 6), generator=generator)
    options = {"top_k": top_k, "top_p": top_p, "min_p": min_p, "repetition_penalty": penalty}
    config = GenerationConfig(do_sample=True, temperature=temperature, **options)
    config._eos_token_tensor = None
    theirs: LogitsProcessorList = tiny_llama._get_logits_processor(config, input_ids_seq_length=6)
    expected = torch.softmax(theirs(tokens, logits.clone()), dim=1)
    ours = processed(logits, [request(temperature=temperature, **options)] * 2, lambda row: tokens[row].tolist())
    torch.testing.assert_close(torch.softmax(ours / temperature, dim=1), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("options", OPTIONS[:5])
def test_tokens_are_drawn_from_that_distribution(options: dict[str, Any]) -> None:
    count = 8000
    logits = torch.linspace(3, -3, 20).repeat(count, 1)
    left = processed(logits, [request(**options)] * count, lambda _: [0, 3, 7, 7])
    keys = [noise_key(seed, [1, 2]) for seed in range(count)]
    drawn = np.bincount(sample(left, [options["temperature"]] * count, keys, [3] * count), minlength=20)
    expected = torch.softmax(left[0].double() / options["temperature"], dim=0).numpy() * count
    assert not drawn[expected == 0].any()
    common = expected >= 5
    rest = [drawn[~common].sum()], [expected[~common].sum()]
    counts, means = np.r_[drawn[common], rest[0]], np.r_[expected[common], rest[1]]
    assert stats.chisquare(counts[means > 0], means[means > 0]).pvalue > 1e-3


def test_logits_without_settings_are_not_copied_and_settings_change_only_their_own_rows() -> None:
    logits = torch.randn((3, VOCABULARY))
    assert processed(logits, [request(), request(temperature=1.0), request()], lambda _: [0]) is logits
    before = logits.clone()
    left = processed(logits, [request(), request(temperature=1.0, top_k=2), request(top_k=2)], lambda _: [0])
    assert torch.equal(logits, before)
    assert torch.equal(left[[0, 2]], before[[0, 2]])  # greedy decoding needs no truncation
    assert int(torch.isfinite(left[1]).sum()) == 2


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Engine:
    return open_model(tiny_model)


def mixed_requests() -> list[GenerateRequest]:
    prompts = ["the cat", "one two three four", "What animal"]
    return [
        GenerateRequest(prompt, (), 6 + number % 3, seed=number, **options)
        for prompt in prompts
        for number, options in enumerate(OPTIONS)
    ]


def test_a_request_gives_the_same_text_alone_in_any_batch_and_in_static_batches(engine: Any) -> None:
    requests = mixed_requests()
    alone = [engine.generate_until([each], silent)[0].text for each in requests]
    assert [answer.text for answer in engine.generate_until(requests[::-1], silent)] == alone[::-1]
    loaded = engine._loaded
    prompts = [loaded.tokenizer(each.context)["input_ids"] for each in requests]
    sequences = make_sequences(loaded.tokenizer, requests, prompts, loaded.end_tokens)
    generate_static(loaded, sequences, BatchLimit(100_000), lambda _: None)
    assert [sequence.answer(loaded.tokenizer).text for sequence in sequences] == alone
    assert len(set(alone)) > len(requests) // 2


def test_greedy_text_with_a_repetition_penalty_is_that_of_transformers_generate(engine: Any) -> None:
    loaded = engine._loaded
    for prompt in ("the cat", "big big dog"):
        ids = torch.tensor([loaded.tokenizer(prompt)["input_ids"]])
        theirs = loaded.model.generate(ids, max_new_tokens=12, do_sample=False, repetition_penalty=1.4, pad_token_id=0)[
            0, ids.shape[1] :
        ]
        (ours,) = engine.generate_until([GenerateRequest(prompt, (), 12, repetition_penalty=1.4)], silent)
        (plain,) = engine.generate_until([GenerateRequest(prompt, (), 12)], silent)
        assert ours.text == loaded.tokenizer.decode(theirs, skip_special_tokens=True) != plain.text
