"""Settings: the typed gate.yml."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gate.config.decision import DecisionSettings, DistanceSettings, EarlyStop
    from gate.config.engine import EngineSettings
    from gate.config.gate_config import GateConfig
    from gate.config.load import LoadedConfig, load_config, parse_config
    from gate.config.models import CandidateSettings, ModelSettings
    from gate.config.samples import SampleSettings
    from gate.config.task_policy import TaskPolicy
    from gate.config.tasks import TaskSettings

__all__ = [
    "CandidateSettings",
    "DecisionSettings",
    "DistanceSettings",
    "EarlyStop",
    "EngineSettings",
    "GateConfig",
    "LoadedConfig",
    "ModelSettings",
    "SampleSettings",
    "TaskPolicy",
    "TaskSettings",
    "load_config",
    "parse_config",
]

_MODULES = {
    "decision": ("DecisionSettings", "DistanceSettings", "EarlyStop"),
    "engine": ("EngineSettings",),
    "gate_config": ("GateConfig",),
    "load": ("LoadedConfig", "load_config", "parse_config"),
    "models": ("CandidateSettings", "ModelSettings"),
    "samples": ("SampleSettings",),
    "task_policy": ("TaskPolicy",),
    "tasks": ("TaskSettings",),
}


def __getattr__(name: str) -> object:
    """Import a name at its first use, so that `gate compare` loads only the settings of the decision."""
    from importlib import import_module

    for module, names in _MODULES.items():
        if name in names:
            value = getattr(import_module(f"gate.config.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
