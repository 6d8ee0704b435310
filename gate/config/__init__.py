"""Settings: the typed gate.yml."""

from gate.config.decision import AlphaSpending, DecisionSettings, DistanceSettings, EarlyStop
from gate.config.engine import EngineSettings
from gate.config.gate_config import GateConfig
from gate.config.load import LoadedConfig, load_config, parse_config
from gate.config.models import ModelSettings
from gate.config.report import ReportSettings
from gate.config.samples import SampleSettings
from gate.config.tasks import TaskSettings

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
