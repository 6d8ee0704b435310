"""Engines: what answers the requests of tasks. Importing this package imports neither torch nor transformers."""

from __future__ import annotations

from gate.config import EngineSettings
from gate.engines.base import Engine, ModelIdentity, Progress, Runtime
from gate.engines.devices import require_devices
from gate.engines.extra import LOCAL_ENGINE, require_packages
from gate.engines.served.context import Context
from gate.engines.source import ModelSource, engine_name, fetch, identify, locate


def open_engine(source: ModelSource, settings: EngineSettings, context: Context | None = None) -> Engine:
    """Load a fetched model, connect to its server, or start a server, which `close_engine` stops.

    Parameters
    ----------
    context : Context, optional
        Where a server that is started runs and logs. Default: the current folder, and temporary logs.

    Raises
    ------
    ModelError
        The model cannot be loaded, or the extra `transformers` is not installed.
    ConfigError
        The program of a server to start is missing, or does not accept its arguments.
    EvaluationError
        The device does not exist, or the server is unreachable or does not start.
    """
    if settings.kind == "served":
        require_packages("transformers")  # for the tokenizer
    if settings.kind == "openai":
        from gate.engines.openai.engine import OpenAIEngine

        if source.tokenizer_folder is not None:
            require_packages("transformers")
        return OpenAIEngine(source, settings)
    if settings.kind == "transformers":
        require_packages(*LOCAL_ENGINE)
    if settings.replicas > 1 or settings.address is not None:
        from gate.engines.replicas import ReplicaEngine

        return ReplicaEngine(source, settings, context or Context())
    if settings.kind == "served":
        from gate.engines.served.engine import ServedEngine

        return ServedEngine(source, settings, context or Context())
    from gate.engines.hf.engine import TransformersEngine

    return TransformersEngine(source, settings)


def close_engine(engine: Engine) -> None:
    """Stop the server of an engine that started one; other engines free their memory with their last reference."""
    close = getattr(engine, "close", None)
    if close is not None:
        close()


__all__ = [
    "Context",
    "Engine",
    "ModelIdentity",
    "ModelSource",
    "Progress",
    "Runtime",
    "close_engine",
    "engine_name",
    "fetch",
    "identify",
    "locate",
    "open_engine",
    "require_devices",
]
