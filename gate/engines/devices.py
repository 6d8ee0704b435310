"""The devices that models run on. torch is imported only where a device other than the CPU is requested."""

from __future__ import annotations

from gate.config import EngineSettings, GateConfig
from gate.engines.extra import require_packages
from gate.errors import EvaluationError

NO_GPU = (
    "Either make nvidia the default runtime of the runner's Docker daemon ('default-runtime': 'nvidia' in "
    "/etc/docker/daemon.json), or run the job in the image with `container: {image: ..., options: --gpus all}` "
    "and `run: gate run`. To evaluate on the CPU on purpose, set engine.device: cpu."
)
"""Remedies for a GPU that is not visible."""


def local_engines(config: GateConfig) -> list[EngineSettings]:
    """Return the engine settings of the models whose weights this process loads."""
    engines = [config.engine_of(model) for model in config.models.values()]
    return [engine for engine in engines if engine.kind == "transformers" and engine.replicas == 1]


def require_devices(config: GateConfig) -> None:
    """Check that the requested GPUs are visible, before anything is read, hashed or evaluated.

    Raises
    ------
    EvaluationError
        A requested GPU is not visible.
    ModelError
        A GPU is requested, but torch is not installed.
    """
    for device in sorted({engine.device for engine in local_engines(config)} - {"auto", "cpu"}):
        resolve_device(device)


def resolve_device(device: str) -> str:
    """Return the device that `engine.device` means: `cpu`, `cuda:N` or `balanced`.

    Raises
    ------
    EvaluationError
        The requested GPU is not visible. Only `auto` falls back to the CPU.
    """
    if device == "cpu":
        return device
    require_packages("torch")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda:0" if count else "cpu"
    if not count:
        build = "this torch build has no CUDA" if torch.version.cuda is None else f"torch {torch.__version__}"
        raise EvaluationError(f"engine.device is {device}, but no GPU is visible ({build}).", NO_GPU)
    if device == "balanced":
        return device
    index = int(device.partition(":")[2] or 0)
    if index >= count:
        raise EvaluationError(f"engine.device is {device}, but only {count} GPU(s) are visible.", "Numbers start at 0.")
    return f"cuda:{index}"
