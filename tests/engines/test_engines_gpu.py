"""Scores on a GPU equal those on the CPU. Skipped without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.opened import open_model, silent

from gate.engines import Engine
from gate.tasks.requests import LoglikelihoodRequest

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is visible"),
]

REQUESTS = [
    LoglikelihoodRequest(f"the {word} is", (" red", " blue fish", " a big dog")) for word in ("cat", "bird", "fish")
]


def scores(engine: Engine) -> list[float]:
    return [value for answer in engine.loglikelihood(REQUESTS, silent) for value in answer.loglikelihoods]


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0", "balanced"])
def test_every_name_of_the_gpu_gives_the_scores_of_the_cpu(tiny_model: Path, device: str) -> None:
    engine = open_model(tiny_model, {"device": device})
    assert engine.runtime.device.startswith("cuda")
    assert scores(engine) == pytest.approx(scores(open_model(tiny_model)), abs=1e-3)
