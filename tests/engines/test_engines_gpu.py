"""On a GPU: the same scores as on the CPU, and out-of-memory is survived. Skipped without one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gate.config import EngineSettings, ModelSettings
from gate.engines import Engine, LoglikelihoodRequest, fetch, locate, open_engine

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is visible"),
]

REQUESTS = [
    LoglikelihoodRequest(f"the {word} is", (" red", " blue fish", " a big dog"))
    for word in ("cat", "bird", "fish")
]


def opened(folder: Path, device: str) -> Engine:
    settings = EngineSettings(device=device)
    source = fetch(locate(ModelSettings(model=str(folder)), folder), settings, folder, None)
    return open_engine(source, settings)


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0", "balanced"])
def test_every_way_to_name_the_gpu_scores_as_the_cpu_does(tiny_model: Path, device: str) -> None:
    engine = opened(tiny_model, device)
    assert engine.runtime.device.startswith("cuda")
    on_gpu = [value for one in engine.loglikelihood(REQUESTS, lambda _: None) for value in one.loglikelihoods]
    on_cpu = [
        value
        for one in opened(tiny_model, "cpu").loglikelihood(REQUESTS, lambda _: None)
        for value in one.loglikelihoods
    ]
    assert on_gpu == pytest.approx(on_cpu, abs=1e-3)
