"""Settings: the typed gate.yml."""

from gate.config.load import LoadedConfig, load_config, parse_config
from gate.config.model import (
    AlphaSpending,
    DecisionSettings,
    DistanceSettings,
    EarlyStop,
    EngineSettings,
    GateConfig,
    ModelSettings,
    ReportSettings,
    SampleSettings,
    TaskSettings,
)

__all__ = [
    "AlphaSpending",
    "DecisionSettings",
    "DistanceSettings",
    "EarlyStop",
    "EngineSettings",
    "GateConfig",
    "LoadedConfig",
    "ModelSettings",
    "ReportSettings",
    "SampleSettings",
    "TaskSettings",
    "load_config",
    "parse_config",
]
