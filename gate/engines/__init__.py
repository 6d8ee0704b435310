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
    RollingAnswer,
    RollingRequest,
    Runtime,
)
from gate.engines.source import ModelSource, fetch, identify, locate


def open_engine(source: ModelSource, settings: EngineSettings) -> Engine:
    """Open the engine that the settings name on a model that was fetched: load it, or find its server.

    Raises
    ------
    ModelError, EvaluationError
        The model cannot be loaded, there is no such device, or the server cannot be reached.
    """
    if settings.kind == "openai":
        from gate.engines.openai.engine import OpenAIEngine

        return OpenAIEngine(source, settings)
    if settings.replicas > 1 or settings.address is not None:
        from gate.engines.replicas import ReplicaEngine

        return ReplicaEngine(source, settings)
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
    "RollingAnswer",
    "RollingRequest",
    "Runtime",
    "fetch",
    "identify",
    "locate",
    "open_engine",
]
