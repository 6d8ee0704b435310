"""The automatic bound of a forward pass, and scoring when memory runs out."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from support.architectures import PACKED, build
from support.opened import silent
from support.tiny import WORDS

from gate.engines.hf.model.load import LoadedModel
from gate.engines.hf.model.memory import device_memory
from gate.engines.hf.scoring.costs import automatic_tokens, cpu_tokens
from gate.engines.hf.scoring.forward import Forward
from gate.engines.hf.scoring.scorer import Scorer
from gate.tasks.requests import LoglikelihoodRequest


@pytest.fixture
def loaded(tiny_model: Path) -> LoadedModel:
    return build("llama", PACKED["llama"], tiny_model)


REQUESTS = [
    LoglikelihoodRequest("Q : the cat sees a dog " * 8 + word, (" red", " a big dog", " is it"))
    for word in (f"{one} {other}" for one in WORDS[:12] for other in WORDS[8:20])
]


def test_the_bound_on_the_cpu_is_the_fastest_unless_memory_is_scarce(loaded: LoadedModel) -> None:
    bounds = [cpu_tokens(loaded, free) for free in (1 << 40, 4_000_000, 1_000_000, 0)]
    assert bounds[0] == 1024
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] == 64
    assert all(bound & (bound - 1) == 0 for bound in bounds)  # small changes in free memory change nothing
    assert 64 <= automatic_tokens(loaded)[0] <= 1024


def test_the_free_memory_of_this_machine_is_known() -> None:
    assert device_memory(torch.device("cpu")) > 1 << 20


def test_scores_survive_running_out_of_memory_with_prefixes_and_all(
    loaded: LoadedModel, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Scorer(loaded, 2000, 256).loglikelihood(REQUESTS, silent)
    scorer = Scorer(loaded, 2000, 256)
    scorer.method  # noqa: B018 - the probe's passes are not the ones that fail
    own, failed = Forward.logits, []

    def logits(self, trees, needed, prefix=None):  # type: ignore[no-untyped-def]
        if len(trees) > 1:
            failed.append(len(trees))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return own(self, trees, needed, prefix)

    monkeypatch.setattr(Forward, "logits", logits)
    with caplog.at_level(logging.WARNING):
        answers = scorer.loglikelihood(REQUESTS, silent)
    assert failed
    assert any("out of memory: batches are now at most" in message for message in caplog.messages)
    for answer, reference in zip(answers, expected, strict=True):
        assert answer.loglikelihoods == pytest.approx(reference.loglikelihoods, abs=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_a_pass_of_the_bound_fits(tiny_model: Path) -> None:
    loaded = build("llama", PACKED["llama"], tiny_model)
    loaded.model.to("cuda")
    on_gpu = LoadedModel(loaded.model, loaded.tokenizer, torch.device("cuda:0"), "", (1,))
    tokens, costs = automatic_tokens(on_gpu)
    assert tokens >= 64
    assert costs.position > 0
    answers = Scorer(on_gpu, None, 256).loglikelihood(REQUESTS, silent)
    on_cpu = build("llama", PACKED["llama"], tiny_model)
    expected = Scorer(on_cpu, None, 256).loglikelihood(REQUESTS, silent)
    for answer, reference in zip(answers, expected, strict=True):
        assert answer.loglikelihoods == pytest.approx(reference.loglikelihoods, abs=1e-3)
