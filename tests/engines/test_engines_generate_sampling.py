"""Seeded sampling: a request gives the same text in any batch, and tokens follow the model's distribution."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from support.opened import open_model, silent

from gate.engines import Engine
from gate.engines.hf.generation.sampling import gumbel_noise, noise_key, sample
from gate.errors import EvaluationError
from gate.tasks.requests import GenerateRequest

PROMPTS = ["the cat", "one two three", "a", "big big dog", "What animal sees the bird ? A :"]


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Engine:
    return open_model(tiny_model)


def texts(engine: Engine, requests: list[GenerateRequest]) -> list[str]:
    return [answer.text for answer in engine.generate_until(requests, silent)]


def test_the_same_request_gives_the_same_text_in_any_batch(engine: Engine, tiny_model: Path) -> None:
    requests = [GenerateRequest(prompt, (), 6 + seed, 0.7, seed) for prompt in PROMPTS for seed in range(4)]
    alone = [texts(engine, [request])[0] for request in requests]
    for tokens, order in ((60, 1), (400, -1), (100_000, 1)):
        reordered = requests[::order]
        assert texts(open_model(tiny_model, {"max_batch_tokens": tokens}), reordered) == alone[::order]


def test_another_seed_gives_another_text_and_temperature_0_the_greedy_one(engine: Engine) -> None:
    drawn = texts(engine, [GenerateRequest("the cat", (), 12, 1.0, seed) for seed in range(20)])
    assert len(set(drawn)) == 20
    greedy = texts(engine, [GenerateRequest("the cat", (), 12, 0.0, seed) for seed in range(3)])
    assert len(set(greedy)) == 1
    assert texts(engine, [GenerateRequest("the cat", (), 12, 1e-6, 5)]) == greedy[:1]


def test_items_with_the_same_seed_do_not_share_noise() -> None:
    keys = {noise_key(seed, prompt) for seed in range(50) for prompt in ([1, 2], [1, 3], [12], [2, 1])}
    assert len(keys) == 200


def test_the_first_token_is_sampled_with_the_probability_that_the_model_assigns(engine: Any) -> None:
    loaded, count, temperature = engine._loaded, 2000, 0.8
    with torch.no_grad():
        ids = torch.tensor([loaded.tokenizer("the cat").input_ids])
        probabilities = torch.softmax(loaded.model(ids).logits[0, -1] / temperature, dim=0).tolist()
    expected: Counter[str] = Counter()
    for token, probability in enumerate(probabilities):
        name = "" if token in loaded.end_tokens else loaded.tokenizer.decode([token], skip_special_tokens=True)
        expected[name] += probability
    drawn = Counter(texts(engine, [GenerateRequest("the cat", (), 1, temperature, seed) for seed in range(count)]))
    common = [name for name, probability in expected.items() if probability * count >= 10]
    counts = [drawn[name] for name in common]
    expected_counts = [expected[name] * count for name in common]
    result = stats.chisquare([*counts, count - sum(counts)], [*expected_counts, count - sum(expected_counts)])
    assert result.pvalue > 1e-3
    assert len(common) > 10


def test_every_step_samples_from_the_whole_distribution() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -4.0]).repeat(20_000, 1)
    for step in (0, 1, 700):
        keys = [noise_key(seed, [7, 7]) for seed in range(len(logits))]
        drawn = np.bincount(sample(logits, [1.0] * len(keys), keys, [step] * len(keys)), minlength=5)
        expected = torch.softmax(logits[0].double(), 0).numpy() * len(logits)
        assert stats.chisquare(drawn, expected).pvalue > 1e-3


def test_noise_is_gumbel_and_independent_over_keys_steps_and_tokens() -> None:
    noise = gumbel_noise([noise_key(seed, [3]) for seed in range(40)], [5] * 40, 5000, torch.device("cpu")).numpy()
    assert stats.kstest(noise.ravel(), "gumbel_r").pvalue > 1e-3
    later = gumbel_noise([noise_key(seed, [3]) for seed in range(40)], [6] * 40, 5000, torch.device("cpu")).numpy()
    pairs = [(noise[:, 1:], noise[:, :-1]), (noise[1:], noise[:-1]), (noise, later)]
    for first, second in pairs:
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 4 / np.sqrt(first.size)


def split_mix(state: int) -> tuple[int, int]:
    """Return the next state of SplitMix64 and its output, in integer arithmetic."""
    mask = (1 << 64) - 1
    state = (state + 0x9E3779B97F4A7C15) & mask
    value = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return state, value ^ (value >> 31)


def test_noise_comes_from_split_mix_64_and_never_changes() -> None:
    # a candidate may be compared with stored samples of a baseline that an earlier version evaluated
    assert split_mix(1234567)[1] == 6457827717110365317  # published with the C code of the algorithm
    key, step = noise_key(1, [2, 3]), 9
    assert key == 16299997169100725290
    state = split_mix(key + split_mix(step + 1)[1])[1]
    expected = []
    for _ in range(400):
        state, value = split_mix(state)
        expected.append(-math.log(-math.log(((value >> 11) + 0.5) / 2**53)))
    noise = gumbel_noise([5, key], [0, step], 400, torch.device("cpu"))[1].tolist()
    assert noise == pytest.approx(expected, rel=1e-12)


def test_greedy_and_sampled_rows_share_a_batch() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0]]).repeat(6, 1)
    mixed = sample(logits, [0, 5, 0, 5, 5, 0], list(range(6)), [0] * 6)
    assert [mixed[row] for row in (0, 2, 5)] == [1, 1, 1]
    drawn = sample(logits[:3], [5, 5, 5], [1, 3, 4], [0] * 3)
    assert [mixed[row] for row in (1, 3, 4)] == drawn


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_nan_is_an_error_and_minus_infinity_is_a_token_that_is_never_sampled(temperature: float) -> None:
    logits = torch.tensor([[0.0, -torch.inf, 1.0], [0.0, 1.0, 2.0]])
    for step in range(50):
        assert 1 not in sample(logits, [temperature] * 2, [1, 2], [step] * 2)[:1]
    logits[1, 0] = torch.nan
    with pytest.raises(EvaluationError, match="not numbers"):
        sample(logits, [temperature] * 2, [1, 2], [0, 0])
