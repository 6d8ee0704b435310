"""Replicas of a model on Ray workers. Requests are distributed in chunks; a lost worker's chunk is repeated."""

from __future__ import annotations

import logging
import os
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from gate.config import EngineSettings
from gate.engines.base import Engine, Progress, Runtime
from gate.engines.cluster import connect, gpus_per_replica, stop
from gate.engines.served.context import Context
from gate.engines.source import ModelSource
from gate.errors import EvaluationError, GateError, first_line
from gate.tasks import Message
from gate.tasks.chat import TEMPLATE_ONLY, ChatFormat
from gate.tasks.requests import (
    GenerateAnswer,
    GenerateRequest,
    LoglikelihoodAnswer,
    LoglikelihoodRequest,
    RollingAnswer,
    RollingRequest,
)

_LOG = logging.getLogger(__name__)
_CHUNKS = 4  # per replica, so that no replica waits long for the last one
_MAX_CHUNK = 256  # requests, the most that a lost worker costs
_MAX_LOSSES = 3  # workers lost over the same work
_LOAD_NOTICE = 60.0  # seconds between messages while workers wait for room on a shared cluster


@dataclass(frozen=True)
class Places:
    """The folder of gate.yml and that of the servers' logs; see `gate.engines.served.context.Context`."""

    folder: Path
    logs: Path


@dataclass(frozen=True)
class Chunk:
    """Adjacent requests, which share few-shot examples, and the number of workers lost over them."""

    start: int
    stop: int
    losses: int = 0


class Worker:
    """A Ray actor with one copy of the model. It returns GateErrors, because Ray would wrap raised ones."""

    _engine: Engine  # set by `open`

    def __init__(self, source: ModelSource, settings: EngineSettings, threads: int | None, places: Places) -> None:
        self._source, self._settings, self._threads, self._places = source, settings, threads, places

    def open(self) -> Runtime | GateError:
        """Load the model, or start its server."""
        from gate.engines import Context, fetch, open_engine

        try:
            source = self._source
            if source.folder is not None and not source.folder.is_dir():
                if source.revision is None:
                    raise EvaluationError(
                        f"model {source.settings.model}: the folder {source.folder} is not on the Ray worker "
                        f"{os.uname().nodename}.",
                        "Put it on storage that all machines of the cluster share, or use a hub model.",
                    )
                uncached = replace(source, folder=None, tokenizer_folder=None)
                source = fetch(uncached, self._settings, source.folder, None)
            if self._threads is not None:
                import torch

                torch.set_num_threads(self._threads)
            # every server of this machine writes a log of its own
            logs = self._places.logs / f"replica-{os.getpid()}"
            self._engine = open_engine(source, self._settings, Context(self._places.folder, logs))
            return self._engine.runtime
        except GateError as error:
            return error

    def close(self) -> None:
        """Stop the server of an engine that started one."""
        from gate.engines import close_engine

        if hasattr(self, "_engine"):
            close_engine(self._engine)

    def answer(self, method: str, requests: Sequence[Any]) -> tuple[list[Any], Runtime] | GateError:
        """Answer requests with a method of the engine; also return the runtime, which the first answers complete."""
        try:
            if method == "render_chat":
                return [self._engine.render_chat(*chat) for chat in requests], self._engine.runtime
            return list(getattr(self._engine, method)(requests, lambda _: None)), self._engine.runtime
        except GateError as error:
            return error


class ReplicaEngine:
    """Answers requests with copies of an engine on Ray workers; see `gate.engines.base.Engine`.

    `engine.replicas` is the number of copies, `engine.address` a running cluster. Without an address, a cluster is
    started on this machine and stopped with the engine. Each copy has its own GPUs or an equal share of the processors.
    A copy of a served engine starts a server of its own.

    Attributes
    ----------
    close : callable
        Stops the workers, and the cluster if it was started here. Garbage collection does the same.

    Raises
    ------
    ConfigError
        Ray is not installed, or the device is not available to replicas.
    ModelError, EvaluationError
        The model cannot be loaded; there are fewer GPUs than replicas; the cluster is unreachable.
    """

    def __init__(self, source: ModelSource, settings: EngineSettings, context: Context) -> None:
        self._places = Places(context.folder, context.logs)
        self._ray = connect(settings)
        self._workers: list[Any] = []
        # registered before the workers start, so that an error below stops them
        self.close = weakref.finalize(self, stop, self._ray, self._workers, closes=settings.kind == "served")
        try:
            self._start(source, settings)
        except GateError:
            self.close()
            raise

    def _start(self, source: ModelSource, settings: EngineSettings) -> None:
        gpus = gpus_per_replica(self._ray, settings)
        device = "cuda" if gpus else "cpu"
        single = settings.model_copy(update={"replicas": 1, "address": None, "gpus": None, "device": device})
        is_shared = gpus or settings.address or settings.kind == "served"
        threads = None if is_shared else max(1, (os.cpu_count() or 1) // settings.replicas)
        # on this machine the threads divide the processors, and an engine that is not yet closed must not block another
        cpus = 0 if settings.address is None else 1
        self._actor = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(Worker)
        self._arguments = (source, single, threads, self._places)
        try:
            self._workers += [self._actor.remote(*self._arguments) for _ in range(settings.replicas)]
            results = self._wait_for_all([worker.open.remote() for worker in self._workers])
        except self._ray.exceptions.RayError as error:
            raise EvaluationError(
                f"a Ray worker stopped while it loaded the model: {first_line(error)}", "See Ray's log."
            ) from None
        self._runtimes: list[Runtime] = [_raise_error(result) for result in results]
        hardware = sorted({runtime.hardware for runtime in self._runtimes})
        if len(hardware) > 1:
            _LOG.warning("the replicas run on different hardware, which may round differently: %s", ", ".join(hardware))

    def _wait_for_all(self, futures: list[Any]) -> list[Any]:
        """Return the results of all workers; on a shared cluster they may have to wait for room."""
        while True:
            ready, waiting = self._ray.wait(futures, num_returns=len(futures), timeout=_LOAD_NOTICE)
            if not waiting:
                return list(self._ray.get(futures))
            self._ray.get(ready)  # raises the error of a failed worker
            _LOG.warning("%d of %d Ray workers have loaded the model; still waiting", len(ready), len(futures))

    @property
    def runtime(self) -> Runtime:
        """The runtime of a replica, the first of those with the most versions, and the number of replicas."""
        runtime = max(self._runtimes, key=lambda runtime: len(runtime.versions))
        return replace(
            runtime,
            hardware=f"{len(self._workers)} replicas, each {runtime.hardware}",
            versions={**runtime.versions, "ray": self._ray.__version__},
            stack={**runtime.stack, "replicas": str(len(self._workers))},
        )

    def render_chat(self, messages: Sequence[Message], chat: ChatFormat = TEMPLATE_ONLY) -> str:
        """Return the prompt that the tokenizer's chat template renders."""
        (prompt,) = self._distribute("render_chat", [(messages, chat)], lambda _: None)
        return str(prompt)

    def loglikelihood(self, requests: Sequence[LoglikelihoodRequest], progress: Progress) -> list[LoglikelihoodAnswer]:
        """Answer log-likelihood requests, in their order."""
        return self._distribute("loglikelihood", requests, progress)

    def loglikelihood_rolling(self, requests: Sequence[RollingRequest], progress: Progress) -> list[RollingAnswer]:
        """Answer rolling requests, in their order."""
        return self._distribute("loglikelihood_rolling", requests, progress)

    def generate_until(self, requests: Sequence[GenerateRequest], progress: Progress) -> list[GenerateAnswer]:
        """Answer generation requests, in their order."""
        return self._distribute("generate_until", requests, progress)

    def _distribute(self, method: str, requests: Sequence[Any], progress: Progress) -> list[Any]:
        """Give chunks to idle workers until all are answered. Replacements of lost workers load concurrently."""
        waiting = deque(split(len(requests), len(self._workers)))
        answers: list[Any] = [None] * len(requests)
        # worker and chunk, by future; no chunk while the worker loads the model
        running: dict[Any, tuple[int, Chunk | None]] = {}
        idle = list(range(len(self._workers)))
        while waiting or running:
            while waiting and idle:
                worker, next_chunk = idle.pop(0), waiting.popleft()
                batch = list(requests[next_chunk.start : next_chunk.stop])
                running[self._workers[worker].answer.remote(method, batch)] = worker, next_chunk
            (future, *_), _ = self._ray.wait(list(running))
            worker, chunk = running.pop(future)
            try:
                result = _raise_error(self._ray.get(future))
            except self._ray.exceptions.RayTaskError:
                raise  # a bug in quantgate, not a lost worker
            except self._ray.exceptions.RayError as error:
                if chunk is None:
                    raise EvaluationError(
                        "a Ray worker stopped, and so did its replacement while it loaded the model: "
                        f"{first_line(error)}",
                        "See Ray's log on that machine.",
                    ) from None
                waiting.appendleft(_retry(chunk, requests, error))
                self._workers[worker] = self._actor.remote(*self._arguments)
                running[self._workers[worker].open.remote()] = worker, None
                continue
            if chunk is None:
                self._runtimes[worker] = result
            else:
                answers[chunk.start : chunk.stop], self._runtimes[worker] = result
                progress(chunk.stop - chunk.start)
            idle.append(worker)
        return answers


def _raise_error(result: Any) -> Any:
    """Return a worker's result; raise it if it is an error."""
    if isinstance(result, GateError):
        raise result
    return result


def _retry(chunk: Chunk, requests: Sequence[Any], error: Exception) -> Chunk:
    """Return a lost worker's chunk to be answered again; raise an error after `_MAX_LOSSES` lost workers."""
    reason, losses = first_line(error), chunk.losses + 1
    if losses >= _MAX_LOSSES:
        first = requests[chunk.start]
        text = str(getattr(first, "context", getattr(first, "text", first)))
        raise EvaluationError(
            f"{losses} Ray workers in succession died while answering requests {chunk.start + 1} to {chunk.stop} "
            f"of {len(requests)}, the first of which begins {text[:60]!r}. The last error: {reason}",
            "A request may need more memory than a worker has: lower engine.max_batch_tokens, and see Ray's log.",
        )
    _LOG.warning("a Ray worker stopped (%s); requests %d to %d are repeated", reason, chunk.start + 1, chunk.stop)
    return replace(chunk, losses=losses)


def split(count: int, replicas: int) -> list[Chunk]:
    """Divide `count` requests into adjacent chunks of nearly equal size, several per replica."""
    if count == 0:
        return []
    number = max(-(-count // _MAX_CHUNK), min(count, replicas * _CHUNKS))
    bounds = [round(count * index / number) for index in range(number + 1)]
    return [Chunk(start, stop) for start, stop in pairwise(bounds)]
