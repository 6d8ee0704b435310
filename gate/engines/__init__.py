"""Engines: what answers the requests of tasks. Importing this package imports neither torch nor transformers."""

from __future__ import annotations

from gate.config import EngineSettings
from gate.engines.base import Engine, ModelIdentity, Progress, Runtime
from gate.engines.devices import require_devices
from gate.engines.extra import LOCAL_ENGINE, require_packages
from gate.engines.source import ModelSource, engine_name, fetch, identify, locate


def open_engine(source: ModelSource, settings: EngineSettings) -> Engine:
    """Load a fetched model, or connect to its server.

    Raises
    ------
    ModelError
        The model cannot be loaded, or the extra `transformers` is not installed.
    EvaluationError
        The device does not exist, or the server is unreachable.
    """
    if settings.kind == "openai":
        from gate.engines.openai.engine import OpenAIEngine

        if source.tokenizer_folder is not None:
            require_packages("transformers")
        return OpenAIEngine(source, settings)
    require_packages(*LOCAL_ENGINE)
    if settings.replicas > 1 or settings.address is not None:
        from gate.engines.replicas import ReplicaEngine

        return ReplicaEngine(source, settings)
    from gate.engines.hf.engine import TransformersEngine

    return TransformersEngine(source, settings)


__all__ = [
    "Engine",
    "ModelIdentity",
    "ModelSource",
    "Progress",
    "Runtime",
    "engine_name",
    "fetch",
    "identify",
    "locate",
    "open_engine",
    "require_devices",
]
