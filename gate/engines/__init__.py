"""Engines: who answers. Importing this room does not import torch."""

from __future__ import annotations

from gate.config import EngineSettings
from gate.engines.base import (
    Distribution,
    Divergence,
    Engine,
    GenerateAnswer,
    GenerateRequest,
    LoglikelihoodAnswer,
    LoglikelihoodRequest,
    ModelIdentity,
    Progress,
    Runtime,
)
from gate.engines.source import ModelSource, fetch, identify, locate


def open_engine(source: ModelSource, settings: EngineSettings) -> Engine:
    """Load a model that was fetched into the engine that the settings name.

    Raises
    ------
    ModelError, EvaluationError
        The model cannot be loaded; no such device.
    """
    from gate.engines.hf.engine import TransformersEngine

    return TransformersEngine(source, settings)


__all__ = [
    "Distribution",
    "Divergence",
    "Engine",
    "GenerateAnswer",
    "GenerateRequest",
    "LoglikelihoodAnswer",
    "LoglikelihoodRequest",
    "ModelIdentity",
    "ModelSource",
    "Progress",
    "Runtime",
    "fetch",
    "identify",
    "locate",
    "open_engine",
]
