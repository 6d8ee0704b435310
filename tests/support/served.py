"""Open a served model the way the commands do: locate, fetch, open_engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gate.config import EngineSettings, ModelSettings
from gate.engines import Engine, ModelIdentity, fetch, identify, locate, open_engine


def server_settings(url: str, **engine: Any) -> EngineSettings:
    return EngineSettings(kind="openai", base_url=url, **engine)


def open_served(
    url: str, name: str, baseline: Path | None = None, engine: dict[str, Any] | None = None, **model: Any
) -> Engine:
    """Open the served model `name`, with the tokenizer of the baseline in the folder `baseline`."""
    settings = server_settings(url, **(engine or {}))
    source = locate(ModelSettings(model=name, **model), Path(), settings)
    baseline_source = None if baseline is None else locate(ModelSettings(model=str(baseline)), Path())
    return open_engine(fetch(source, settings, Path(), baseline_source), settings)


def served_identity(url: str, name: str, **model: Any) -> ModelIdentity:
    settings = server_settings(url)
    return identify(locate(ModelSettings(model=name, **model), Path(), settings), settings, Path())
