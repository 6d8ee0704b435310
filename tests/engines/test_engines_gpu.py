"""Scores and texts on a GPU equal those on the CPU. Skipped without a GPU."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from support.opened import open_model, silent
from support.tiny import WORDS

from gate.engines import Engine
from gate.tasks.requests import GenerateRequest, LoglikelihoodRequest

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is visible"),
]

REQUESTS = [
    LoglikelihoodRequest(f"the {word} is", (" red", " blue fish", " a big dog")) for word in ("cat", "bird", "fish")
]

GENERATIONS = [GenerateRequest(f"the {word} is", (), 16) for word in WORDS[:24]]


def scores(engine: Engine) -> list[float]:
    return [value for answer in engine.loglikelihood(REQUESTS, silent) for value in answer.loglikelihoods]


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0", "balanced"])
def test_every_name_of_the_gpu_gives_the_scores_of_the_cpu(tiny_model: Path, device: str) -> None:
    engine = open_model(tiny_model, {"device": device})
    assert engine.runtime.device.startswith("cuda")
    assert scores(engine) == pytest.approx(scores(open_model(tiny_model)), abs=1e-3)


def texts(engine: Engine) -> list[str]:
    return [answer.text for answer in engine.generate_until(GENERATIONS, silent)]


def test_generated_texts_equal_those_of_the_cpu(tiny_model: Path) -> None:
    assert texts(open_model(tiny_model, {"device": "cuda"})) == texts(open_model(tiny_model))


def test_packed_and_plain_scores_are_equal_in_bfloat16(tiny_model: Path) -> None:
    packed = open_model(tiny_model, {"device": "cuda"}, dtype="bfloat16")
    one_by_one = open_model(tiny_model, {"device": "cuda", "max_batch_tokens": 1}, dtype="bfloat16")
    assert scores(packed) == pytest.approx(scores(one_by_one), abs=0.1)


def test_batches_shrink_where_the_gpu_has_too_little_memory(tiny_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    many = [
        LoglikelihoodRequest(" ".join(words) * 4, (" red", " a big dog", " is it"))
        for words in itertools.product(WORDS[:16], repeat=3)
    ]
    engine = open_model(tiny_model, {"device": "cuda", "max_batch_tokens": 1_000_000})
    whole = engine.loglikelihood(many, silent)
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved() + 24 * 2**20
    torch.cuda.set_per_process_memory_fraction(room / torch.cuda.get_device_properties(0).total_memory)
    try:
        with caplog.at_level("WARNING"):
            found = engine.loglikelihood(many, silent)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory: batches are now at most" in caplog.text
    for answer, expected in zip(found, whole, strict=True):
        assert answer.loglikelihoods == pytest.approx(expected.loglikelihoods, abs=1e-3)


def test_the_runtime_names_the_gpu(tiny_model: Path) -> None:
    runtime = open_model(tiny_model, {"device": "cuda"}).runtime
    assert (runtime.device, runtime.hardware) == ("cuda:0", torch.cuda.get_device_name(0))
