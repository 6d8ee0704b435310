"""The engine that starts a server for its model, asks it through `gate.engines.openai`, and stops it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from gate.common.canonical import digest
from gate.config import EngineSettings
from gate.engines.base import Progress, Runtime
from gate.engines.files import weights_bytes
from gate.engines.openai.engine import OpenAIEngine
from gate.engines.openai.lanes import run
from gate.engines.served.command import (
    HOST,
    command_words,
    environment,
    fill,
    program_name,
    served_name,
    stack_facts,
)
from gate.engines.served.context import Context
from gate.engines.served.hardware import server_hardware
from gate.engines.served.log import Log, ending, failure, is_port_taken
from gate.engines.served.ports import choose_port, is_public, listens
from gate.engines.served.process import ServerProcess
from gate.engines.served.readiness import find_name, listed_names, wait_until_ready
from gate.engines.source import ModelSource
from gate.errors import EvaluationError, ModelError, StartError
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

_WATCH = 0.25  # seconds between looks at the process
_DYING = 2.0  # seconds that a server may take to end after it has failed a request
_PORT_ATTEMPTS = 3  # another process can take a free port before the server does

T = TypeVar("T")


class _ServerDied(Exception):  # noqa: N818 - handled here
    """The server ended while requests were in flight."""


class ServedEngine:
    """Answers requests through a server of its own; see `gate.engines.base.Engine`.

    The server listens on this machine only. If it dies, it is started once more, and the requests in flight are sent
    again.

    Raises
    ------
    ConfigError
        The server's program is not installed, or does not accept its arguments.
    ModelError
        The server serves another model, or its tokenizer differs from the model's.
    EvaluationError
        The server did not start, or not in time.
    """

    def __init__(self, source: ModelSource, settings: EngineSettings, context: Context) -> None:
        folder = source.folder
        assert folder is not None  # noqa: S101 - `fetch` sets it
        self._source, self._settings, self._context = source, settings, context
        self._path = folder / source.settings.gguf_file if source.settings.gguf_file else folder
        self._words = command_words(settings, source.settings, context.folder)
        self._program = settings.preset or program_name(self._words)
        self._what = f"model {source.settings.model}: the server {self._program}"
        self._restarted = False
        name = served_name(source.settings)
        self._names = list(dict.fromkeys([name, source.settings.model, str(self._path), self._path.name]))
        log = digest([str(self._path), self._words, sorted(settings.env.items())])[:12]
        self._log_path = context.logs / f"{name[:60]}-{log}.log"
        self._log_path.unlink(missing_ok=True)
        self._port, self._process = self._start()
        try:
            self._inner = self._connect()
        except BaseException:
            self.close()
            raise

    def _start(self) -> tuple[int, ServerProcess]:
        """Start the server and wait until it is ready; return its port."""
        self._context.message(f"  starting {self._program} for {self._source.settings.model} (log: {self._log_path})")
        for attempt in range(_PORT_ATTEMPTS):
            port = choose_port(self._settings.port)
            try:
                return port, self._launch(port)
            except StartError:
                is_last = attempt == _PORT_ATTEMPTS - 1 or self._settings.port != "auto"
                if is_last or not is_port_taken(Log(self._log_path, whole=True)):
                    raise
        raise AssertionError("unreachable")

    def _launch(self, port: int) -> ServerProcess:
        settings = self._settings
        values = {
            "model": str(self._path),
            "name": self._names[0],
            "host": HOST,
            "port": str(port),
            "dtype": self._source.settings.dtype,
        }
        process = ServerProcess(
            fill(self._words, values), self._context.folder, environment(settings), Log(self._log_path)
        )
        try:
            route = settings.ready or ("/v1/models" if settings.preset is None else "/health")
            seconds = wait_until_ready(
                process,
                f"http://{HOST}:{port}{route}",
                settings.startup_timeout,
                self._what,
                self._context.message,
                lambda: listens(process.processes, port) or self._listed_name(port) is not None,
            )
            if is_public(port):
                raise EvaluationError(
                    f"{self._what} accepts connections from other machines on port {port}.",
                    "Pass {host} to it as the address to listen on.",
                )
        except BaseException:
            process.stop()
            raise
        self._context.message(f"  {self._program} is ready after {seconds:.0f} s")
        return process

    def _listed_name(self, port: int) -> str | None:
        return find_name(self._names, listed_names(f"http://{HOST}:{port}/v1"))

    def _connect(self) -> OpenAIEngine:
        """Connect the client; the server may name the model differently than it was asked to."""
        base_url = f"http://{HOST}:{self._port}/v1"
        model = self._source.settings
        served = listed_names(base_url)
        listed = find_name(self._names, served) if served else self._names[0]
        if listed is None:
            raise ModelError(
                f"{self._what} serves another model: {', '.join(served[:5])}; expected {self._names[0]}.",
                "Pass {name} to the server as the model's name (vLLM: --served-model-name, llama.cpp: --alias).",
            )
        client = self._settings.model_copy(update={"kind": "openai", "base_url": base_url, "api_key_env": None})
        source = replace(self._source, settings=model.model_copy(update={"model": listed}))
        try:
            return OpenAIEngine(source, client, self._watched)
        except _ServerDied:
            raise self._death("ended while it answered the first requests") from None

    def close(self) -> None:
        """Stop the server and everything that it started."""
        self._process.stop()

    @property
    def runtime(self) -> Runtime:
        """What the server reports about itself, and what it was started with."""
        inner = self._inner.runtime
        dtype = self._source.settings.dtype if self._source.settings.dtype != "auto" else inner.dtype
        hardware = server_hardware(self._settings)
        stack = inner.stack | {"engine": "served"} | stack_facts(self._settings) | hardware
        if dtype != "unknown":
            stack["dtype"] = dtype
        return replace(
            inner,
            hardware=hardware["hardware"],
            dtype=dtype,
            stack=stack,
            weights_bytes=weights_bytes(self._source.folder, self._source.settings) if self._source.folder else None,
        )

    def render_chat(self, messages: Sequence[Message], chat: ChatFormat = TEMPLATE_ONLY) -> str:
        """Return the prompt that the chat template renders."""
        (prompt,) = self._ask(lambda _: [self._inner.render_chat(messages, chat)], lambda _: None)
        return prompt

    def loglikelihood(self, requests: Sequence[LoglikelihoodRequest], progress: Progress) -> list[LoglikelihoodAnswer]:
        """Answer log-likelihood requests, in their order."""
        return self._ask(lambda report: self._inner.loglikelihood(requests, report), progress)

    def loglikelihood_rolling(self, requests: Sequence[RollingRequest], progress: Progress) -> list[RollingAnswer]:
        """Answer rolling requests, in their order."""
        return self._ask(lambda report: self._inner.loglikelihood_rolling(requests, report), progress)

    def generate_until(self, requests: Sequence[GenerateRequest], progress: Progress) -> list[GenerateAnswer]:
        """Answer generation requests, in their order."""
        return self._ask(lambda report: self._inner.generate_until(requests, report), progress)

    def _ask(self, call: Callable[[Progress], list[T]], progress: Progress) -> list[T]:
        """Call the client; after the server's death, start it once more and repeat the call."""
        reported = 0
        while True:
            answered = 0

            def report(count: int) -> None:
                nonlocal answered, reported
                answered += count
                if answered > reported:  # the repeated call answers some requests again
                    progress(answered - reported)
                    reported = answered

            try:
                return call(report)
            except _ServerDied:
                self._restart()
            except EvaluationError as error:
                if not self._is_dying():
                    hint = error.hint or ""
                    if "base_url" in hint:  # the gate chose the address
                        hint = ""
                    where = f"The server's log is {self._log_path}."
                    raise EvaluationError(error.message, f"{hint} {where}".strip()) from None
                self._restart()

    def _restart(self) -> None:
        if self._restarted:
            raise self._death("died again, after it was started a second time")
        self._restarted = True
        code = self._process.exit_code or 0
        self._context.message(f"  {self._program} died ({ending(code)}); it is started once more")
        self._process.stop()
        choose_port(self._port)
        self._process = self._launch(self._port)

    def _is_dying(self) -> bool:
        """Return whether the server has ended, or ends now, after a failed request."""
        return run(_ends_within(self._process, _DYING))

    def _watched(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run requests; stop as soon as the server ends, instead of repeating them for minutes."""
        return run(self._race(coroutine))

    async def _race(self, coroutine: Coroutine[Any, Any, T]) -> T:
        work = asyncio.ensure_future(coroutine)
        watch = asyncio.ensure_future(_ends_within(self._process, None))
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise _ServerDied
        finally:
            watch.cancel()
            work.cancel()
            await asyncio.gather(work, watch, return_exceptions=True)

    def _death(self, what: str) -> EvaluationError:
        return failure(f"{self._what} {what}", self._process.exit_code or 0, self._process.log, EvaluationError)


async def _ends_within(process: ServerProcess, seconds: float | None) -> bool:
    """Return whether a process ends in the given time; without a limit, wait until it does."""

    async def ends() -> bool:
        while process.exit_code is None:
            await asyncio.sleep(_WATCH)
        return True

    try:
        return await asyncio.wait_for(ends(), seconds)
    except TimeoutError:
        return False
