"""Open a checkpoint as the commands do: locate, fetch, open_engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gate.config import EngineSettings, ModelSettings
from gate.engines import Engine, fetch, locate, open_engine
from gate.tasks.requests import LoglikelihoodRequest

torch.set_num_threads(1)  # threads only slow down matrices this small


def open_model(folder: Path, engine: dict[str, Any] | None = None, **model: Any) -> Engine:
    settings = EngineSettings(**{"device": "cpu", **(engine or {})})
    source = locate(ModelSettings(model=str(folder), **model), folder)
    return open_engine(fetch(source, settings, folder, None), settings)


def silent(_: int) -> None:
    """Ignore progress."""


def loglikelihoods(engine: Engine, requests: Sequence[tuple[str, Sequence[str]]]) -> list[tuple[float, ...]]:
    answers = engine.loglikelihood(
        [LoglikelihoodRequest(context, tuple(choices)) for context, choices in requests], silent
    )
    return [answer.loglikelihoods for answer in answers]
