"""The Ray cluster for replicas: a given one, or one on this machine that is stopped with its last engine."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gate.config import EngineSettings
from gate.errors import ConfigError, EvaluationError, Terminated, first_line

_CONNECT_TIMEOUT = 10.0  # seconds
_STARTS = 3  # attempts to start Ray on a busy machine: it waits only 30 s for its own processes
_CLOSE_TIMEOUT = 30.0  # seconds, more than a server's grace period
_STORE = 256 * 2**20  # bytes of a local cluster's object store; requests and answers are small


class _Connection:
    """The connection to Ray: whether this process opened it, and how many engines use it."""

    opened = False
    users = 0


def connect(settings: EngineSettings) -> Any:
    """Return the module `ray`, connected to the configured cluster or to one on this machine.

    Raises
    ------
    ConfigError
        Ray is not installed, or the device is not available to replicas.
    EvaluationError
        The cluster is unreachable.
    """
    if settings.device == "balanced" or settings.device.startswith("cuda:"):
        raise ConfigError(
            f"engine.device is {settings.device}, but each of {settings.replicas} replicas has one GPU of its own.",
            "Set engine.device: cuda, or engine.replicas: 1.",
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
    try:
        import ray
    except ImportError as error:
        raise ConfigError(f"engine.replicas needs Ray: {error}", "pip install 'quantgate[ray]'") from None
    if not ray.is_initialized():
        starts = _STARTS if settings.address is None else 1
        for number in range(1, starts + 1):
            try:
                with _kept_sigterm_handler():
                    _open(ray, settings)
                break
            except Exception as error:  # Ray raises this class itself, e.g. if its processes take more than 30 s
                ray.shutdown()  # what has started
                if number == starts:
                    cluster = f"the Ray cluster {settings.address}" if settings.address else "Ray on this machine"
                    raise EvaluationError(f"{cluster} cannot be reached or started: {first_line(error)}") from None
        _Connection.opened = True
    _Connection.users += 1
    return ray


def _open(ray: Any, settings: EngineSettings) -> None:
    """Connect to the configured cluster, or start one on this machine."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if settings.address is None:
        # Ray listens on all interfaces, but 2.60 and later ask every client for a token (RAY_AUTH_MODE=token)
        ray.init(address="local", include_dashboard=False, object_store_memory=_STORE, **options)
        return
    host, _, port = settings.address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():  # fails immediately if nothing listens; Ray retries for five minutes
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIMEOUT).close()
    ray.init(address=settings.address, **options)


@contextmanager
def _kept_sigterm_handler() -> Iterator[None]:
    """Restore the handler of SIGTERM, which `ray.init` replaces by one that ends the process with another exit code."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as end:
        if end.code == signal.SIGTERM:  # Ray's handler, during the start
            raise Terminated from None
        raise
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def gpus_per_replica(ray: Any, settings: EngineSettings) -> int:
    """Return the number of GPUs per replica.

    Raises
    ------
    EvaluationError
        There are fewer GPUs, or processors of a given cluster, than the replicas need.
    """
    gpus, cpus = (int(ray.cluster_resources().get(kind, 0)) for kind in ("GPU", "CPU"))
    each = int(settings.device == "cuda" or (settings.device == "auto" and gpus > 0))
    if isinstance(settings.gpus, int):
        each = settings.gpus
    if gpus < settings.replicas * each:
        plural = f" with {each} GPUs each" if each > 1 else ""
        raise EvaluationError(
            f"engine.replicas is {settings.replicas}{plural}, but Ray has {gpus} GPUs.",
            f"Set engine.replicas: {gpus // each}." if gpus >= each else "Set engine.device: cpu, or add machines.",
        )
    if not each and settings.address is not None and cpus < settings.replicas:
        raise EvaluationError(
            f"engine.replicas is {settings.replicas}, but the Ray cluster has {cpus} processors.",
            f"Set engine.replicas: {cpus}, or add machines.",
        )
    return each


def stop(ray: Any, workers: list[Any], *, closes: bool) -> None:
    """Stop an engine's workers, and close the connection with the last engine. Called once per engine.

    If `closes` is set, the workers first stop the servers that they started. A killed worker's server is stopped by its
    supervisor, a little later.
    """
    _Connection.users -= 1
    if not ray.is_initialized():
        return
    if closes and workers:
        ray.wait([worker.close.remote() for worker in workers], num_returns=len(workers), timeout=_CLOSE_TIMEOUT)
    for worker in workers:
        ray.kill(worker)
    if _Connection.opened and _Connection.users == 0:
        _Connection.opened = False
        ray.shutdown()
