"""Copies of a model on Ray workers: requests are split over them, and a lost worker's part is done again by another."""

from __future__ import annotations

import logging
import os
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from gate.config import EngineSettings
from gate.engines.base import (
    Engine,
    GenerateAnswer,
    GenerateRequest,
    LoglikelihoodAnswer,
    LoglikelihoodRequest,
    Progress,
    RollingAnswer,
    RollingRequest,
    Runtime,
)
from gate.engines.cluster import connect, first_line, gpus_each, stop
from gate.engines.source import ModelSource
from gate.errors import EvaluationError, GateError
from gate.tasks import Message

_LOG = logging.getLogger(__name__)
_CHUNKS = 4  # a replica, so that the last to finish does not keep the others waiting for long
_LARGEST = 256  # requests a chunk: what is lost with a worker
_DEATHS = 3  # workers that one chunk may take with it
_PATIENCE = 60.0  # seconds between notes that a shared cluster has no room yet


@dataclass(frozen=True)
class Chunk:
    """Neighbouring requests, which share their few-shot examples, that one worker answers together."""

    start: int
    stop: int
    deaths: int = 0


class Worker:
    """What runs in a Ray actor: one copy of the model. Errors for the user are returned: Ray would wrap them."""

    def __init__(self, source: ModelSource, settings: EngineSettings, threads: int | None) -> None:
        self._source, self._settings, self._threads = source, settings, threads
        self._engine: Engine | None = None

    def open(self) -> tuple[Runtime, int] | GateError:
        """Load the model; return what it runs on, and the process's id."""
        from gate.engines import fetch, open_engine

        try:
            source = self._source
            if source.folder is not None and not source.folder.is_dir():
                if source.revision is None:
                    raise EvaluationError(
                        f"model {source.settings.model}: the folder {source.folder} is not on the Ray worker "
                        f"{os.uname().nodename}.",
                        "Put it on storage that all machines of the cluster share, or name a hub model.",
                    )
                bare = replace(source, folder=None, tokenizer_folder=None)
                source = fetch(bare, self._settings, source.folder, None)
            if self._threads is not None:
                import torch

                torch.set_num_threads(self._threads)
            self._engine = open_engine(source, self._settings)
            return self._engine.runtime, os.getpid()
        except GateError as error:
            return error

    def render_chat(self, messages: Sequence[Message]) -> str | GateError:
        """See `Engine.render_chat`."""
        try:
            return self._opened().render_chat(messages)
        except GateError as error:
            return error

    def answer(self, method: str, requests: Sequence[Any]) -> tuple[list[Any], Runtime] | GateError:
        """Answer a chunk of requests with one of the engine's methods; also tell how it ran, which may be new."""
        try:
            engine = self._opened()
            return list(getattr(engine, method)(requests, lambda _: None)), engine.runtime
        except GateError as error:
            return error

    def _opened(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("the worker has no model yet")
        return self._engine


class ReplicaEngine:
    """Answers requests by copies of the default engine on Ray workers; see `gate.engines.base.Engine`.

    Parameters
    ----------
    source : ModelSource
    settings : EngineSettings
        `replicas` copies; `address` of a running cluster, else one is started on this machine and stopped with the
        engine. Each copy has a GPU of its own, or an equal part of this machine's processors.

    Raises
    ------
    ConfigError
        Ray is not installed; a device that replicas cannot have.
    ModelError, EvaluationError
        As the default engine; fewer GPUs than replicas; no such cluster.
    """

    def __init__(self, source: ModelSource, settings: EngineSettings) -> None:
        self._count = settings.replicas
        self._ray = connect(settings)
        # set before the workers are there: what fails below must stop them too
        self._workers: list[Any] = []
        self._close = weakref.finalize(self, stop, self._ray, self._workers)
        try:
            gpus = gpus_each(self._ray, settings)
        except EvaluationError:
            self._close()
            raise
        device = "cuda" if gpus else "cpu"
        inner = settings.model_copy(update={"replicas": 1, "address": None, "device": device})
        threads = None if gpus or settings.address else max(1, (os.cpu_count() or 1) // self._count)
        # a cluster shares processors out; here the threads do, and an engine that is not dropped yet blocks no other
        cpus = 0 if settings.address is None else 1
        self._actor = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(Worker)
        self._arguments = (source, inner, threads)
        try:
            self._workers += [self._actor.remote(*self._arguments) for _ in range(self._count)]
            opened = self._loaded([worker.open.remote() for worker in self._workers])
        except self._ray.exceptions.RayError as error:
            self._close()
            raise EvaluationError(
                f"a Ray worker stopped while it loaded the model: {first_line(error)}"
            ) from None
        for one in opened:
            if isinstance(one, GateError):
                self._close()
                raise one
        self._runtimes: list[Runtime] = [runtime for runtime, _ in opened]
        self.pids: list[int] = [pid for _, pid in opened]
        kinds = sorted({runtime.hardware for runtime in self._runtimes})
        if len(kinds) > 1:
            _LOG.warning(
                "the replicas run on different hardware, which can differ in rounding: %s", ", ".join(kinds)
            )

    def _loaded(self, promises: list[Any]) -> list[Any]:
        """Wait until all workers have loaded the model; a shared cluster may have to make room first."""
        while True:
            done, missing = self._ray.wait(promises, num_returns=len(promises), timeout=_PATIENCE)
            if not missing:
                return list(self._ray.get(promises))
            self._ray.get(done)  # one that failed ends the wait
            _LOG.warning(
                "%d of %d Ray workers have loaded the model; still waiting", len(done), len(promises)
            )

    @property
    def runtime(self) -> Runtime:
        """What a replica runs on (the first of those that know most of it), and how many there are."""
        first = max(self._runtimes, key=lambda runtime: len(runtime.versions))
        return replace(
            first,
            hardware=f"{self._count} replicas, each {first.hardware}",
            versions={**first.versions, "ray": self._ray.__version__},
        )

    def close(self) -> None:
        """Stop the workers, and the cluster where it was started here. Also done when the engine is dropped."""
        self._close()

    def render_chat(self, messages: Sequence[Message]) -> str:
        """Return the prompt that the tokenizer's chat template makes of `messages`."""
        for _ in range(_DEATHS):
            try:
                text = self._ray.get(self._workers[0].render_chat.remote(messages))
            except self._ray.exceptions.RayActorError:
                self._welcome(0, self._successor(0))
                continue
            if isinstance(text, GateError):
                raise text
            return str(text)
        raise EvaluationError(f"{_DEATHS} Ray workers stopped in turn while they rendered a chat.")

    def loglikelihood(
        self, requests: Sequence[LoglikelihoodRequest], progress: Progress
    ) -> list[LoglikelihoodAnswer]:
        """Answer log-likelihood requests, in their order."""
        return self._spread("loglikelihood", requests, progress)

    def loglikelihood_rolling(
        self, requests: Sequence[RollingRequest], progress: Progress
    ) -> list[RollingAnswer]:
        """Answer requests for whole texts, in their order."""
        return self._spread("loglikelihood_rolling", requests, progress)

    def generate_until(self, requests: Sequence[GenerateRequest], progress: Progress) -> list[GenerateAnswer]:
        """Answer generation requests, in their order."""
        return self._spread("generate_until", requests, progress)

    def _spread(self, method: str, requests: Sequence[Any], progress: Progress) -> list[Any]:
        """Put chunks to idle workers until all are answered; a lost worker's successor loads while others answer."""
        waiting = deque(split(len(requests), self._count))
        answers: list[Any] = [None] * len(requests)
        running: dict[Any, tuple[int, Chunk | None]] = {}  # no chunk: the worker loads the model
        idle = list(range(self._count))
        while waiting or any(chunk is not None for _, chunk in running.values()):
            while waiting and idle:
                number, chunk = idle.pop(0), waiting.popleft()
                part = list(requests[chunk.start : chunk.stop])
                running[self._workers[number].answer.remote(method, part)] = number, chunk
            (ready, *_), _ = self._ray.wait(list(running))
            number, done = running.pop(ready)
            try:
                found = self._ray.get(ready)
            except self._ray.exceptions.RayTaskError:
                raise  # an error in our own code, not a lost worker
            except self._ray.exceptions.RayError as error:
                if done is None:
                    raise _twice_lost(error) from None
                waiting.appendleft(self._mourn(done, requests, error))
                running[self._successor(number)] = number, None
                continue
            if isinstance(found, GateError):
                raise found
            if done is None:
                self._runtimes[number], self.pids[number] = found
            else:
                answers[done.start : done.stop], self._runtimes[number] = found
                progress(done.stop - done.start)
            idle.append(number)
        for ready, (number, _) in running.items():  # successors that were not needed any more
            self._welcome(number, ready)
        return answers

    def _mourn(self, chunk: Chunk, requests: Sequence[Any], error: Exception) -> Chunk:
        """Return a lost worker's chunk, to be done again; refuse where it has taken too many workers."""
        reason = first_line(error)
        deaths = chunk.deaths + 1
        if deaths >= _DEATHS:
            first = getattr(requests[chunk.start], "context", getattr(requests[chunk.start], "text", ""))
            raise EvaluationError(
                f"{deaths} Ray workers in turn stopped over the requests {chunk.start + 1} to {chunk.stop} of "
                f"{len(requests)}, the first of which begins {first[:60]!r}. The last: {reason}",
                "One of them may need more memory than a worker has: lower engine.max_batch_tokens, and see Ray's log.",
            )
        _LOG.warning(
            "a Ray worker stopped (%s); another does its requests %d to %d again",
            reason,
            chunk.start + 1,
            chunk.stop,
        )
        return replace(chunk, deaths=deaths)

    def _successor(self, number: int) -> Any:
        """Start a worker in the place of a lost one; return Ray's promise of what its `open` returns."""
        self._workers[number] = self._actor.remote(*self._arguments)
        return self._workers[number].open.remote()

    def _welcome(self, number: int, promise: Any) -> None:
        """Wait until a successor has loaded the model."""
        try:
            opened = self._ray.get(promise)
        except self._ray.exceptions.RayError as error:
            raise _twice_lost(error) from None
        if isinstance(opened, GateError):
            raise opened
        self._runtimes[number], self.pids[number] = opened


def _twice_lost(error: Exception) -> EvaluationError:
    return EvaluationError(
        f"a Ray worker stopped, and the one in its place too, while it loaded the model: {first_line(error)}",
        "See Ray's log on that machine.",
    )


def split(count: int, replicas: int) -> list[Chunk]:
    """Cut `count` requests into neighbouring chunks of nearly equal size, several a replica."""
    if count == 0:
        return []
    number = max(-(-count // _LARGEST), min(count, replicas * _CHUNKS))
    edges = [round(count * place / number) for place in range(number + 1)]
    return [Chunk(start, stop) for start, stop in pairwise(edges)]
