"""The Ray cluster that replicas run on: one that is named, or one on this machine for as long as it is used."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

from gate.config import EngineSettings
from gate.errors import ConfigError, EvaluationError

_KNOCK = 10.0  # seconds
_STORE = 256 * 2**20  # bytes of Ray's own memory on this machine; requests and answers are small


class _Local:
    """The cluster that this process started, and how many engines use it."""

    started = False
    users = 0


def connect(settings: EngineSettings) -> Any:
    """Return Ray, connected to the cluster that the settings name, or to one on this machine.

    Raises
    ------
    ConfigError, EvaluationError
        As `ReplicaEngine`.
    """
    if settings.device == "balanced" or settings.device.startswith("cuda:"):
        raise ConfigError(
            f"engine.device is {settings.device}, but each of {settings.replicas} replicas has one GPU of its own.",
            "Set engine.device: cuda, or engine.replicas: 1.",
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    try:
        import ray
    except ImportError as error:
        raise ConfigError(f"engine.replicas needs Ray: {error}", "pip install 'quantgate[ray]'") from None
    if not ray.is_initialized():
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if settings.address is None:
            options |= {"include_dashboard": False, "object_store_memory": _STORE}
        try:
            if settings.address is not None:
                _knock(settings.address)
            ray.init(address=settings.address or "local", **options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            where = f"the Ray cluster {settings.address}" if settings.address else "Ray on this machine"
            raise EvaluationError(f"{where} cannot be reached or started: {first_line(error)}") from None
        _Local.started = True
    _Local.users += 1
    return ray


def _knock(address: str) -> None:
    """Fail at once where nobody listens; Ray itself tries for five minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK).close()


def gpus_each(ray: Any, settings: EngineSettings) -> int:
    """Return how many GPUs each replica gets.

    Raises
    ------
    EvaluationError
        GPUs were asked for or are there, and are fewer than the replicas.
    """
    found = {kind: int(ray.cluster_resources().get(kind, 0)) for kind in ("GPU", "CPU")}
    wants = settings.device == "cuda" or (settings.device == "auto" and found["GPU"] > 0)
    if wants and found["GPU"] < settings.replicas:
        raise EvaluationError(
            f"engine.replicas is {settings.replicas}, but Ray has {found['GPU']} GPUs.",
            f"Set engine.replicas: {found['GPU']}."
            if found["GPU"]
            else "Set engine.device: cpu, or add machines.",
        )
    if not wants and settings.address is not None and found["CPU"] < settings.replicas:
        raise EvaluationError(
            f"engine.replicas is {settings.replicas}, but the Ray cluster has {found['CPU']} processors."
        )
    return int(wants)


def stop(ray: Any, workers: list[Any]) -> None:
    """Stop an engine's workers, and with the last engine the cluster or connection; called once an engine."""
    _Local.users -= 1
    if not ray.is_initialized():
        return
    for worker in workers:
        ray.kill(worker)
    if _Local.started and _Local.users == 0:
        _Local.started = False
        ray.shutdown()


def first_line(error: Exception) -> str:
    """Return the part of Ray's long messages that a user needs."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
