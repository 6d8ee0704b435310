"""The engine for models behind a server that speaks OpenAI's protocol."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import TypeVar

from gate.config import EngineSettings
from gate.engines.base import Progress, Runtime
from gate.engines.openai.client import Client, RefusedError
from gate.engines.openai.completions import Completions
from gate.engines.openai.generate import generate
from gate.engines.openai.lanes import Runner, in_lanes, run
from gate.engines.openai.method import Method, find_method, make_scorer
from gate.engines.openai.partial import distribution, divergence, has_ids
from gate.engines.openai.scoring import Scorer
from gate.engines.openai.server import Server, find_server
from gate.engines.openai.tokens import LocalTokens, RemoteTokens, check_same_tokenizer
from gate.engines.openai.wire import Likely
from gate.engines.source import ModelSource
from gate.engines.stack import served_stack
from gate.engines.tokens.load import load_tokenizer, tokenizer_digest
from gate.engines.tokens.sequences import generation_prompts
from gate.engines.tokens.tokenizer import render_chat
from gate.errors import EvaluationError, TaskError
from gate.tasks import Message
from gate.tasks.requests import (
    GenerateAnswer,
    GenerateRequest,
    LoglikelihoodAnswer,
    LoglikelihoodRequest,
    RollingAnswer,
    RollingRequest,
)

_LOG = logging.getLogger(__name__)
_MAX_TOP = 4096  # a list of the whole vocabulary would be megabytes of JSON per item
# useless lists of first tokens before requests for them stop; a text that ends at once may have an empty list
_MAX_USELESS_LISTS = 8

T = TypeVar("T")
R = TypeVar("R")
Measured = TypeVar("Measured", LoglikelihoodAnswer, GenerateAnswer)


class OpenAIEngine:
    """Answers requests through a server; see `gate.engines.base.Engine`.

    If the source has a tokenizer folder, it must hold the served model's tokenizer. Prompts are then tokenised on this
    machine, and sent as token ids if the server accepts them. `runner` runs the requests; an engine that started the
    server also watches it there.

    Raises
    ------
    ModelError
        The server serves another model, or its tokenizer differs from the one on this machine.
    EvaluationError
        The server is unreachable.
    """

    def __init__(self, source: ModelSource, settings: EngineSettings, runner: Runner = run) -> None:
        self._run = runner
        self._name = source.settings.model
        self._settings = settings
        self._local: LocalTokens | None = None
        if source.tokenizer_folder is not None:
            self._local = LocalTokens(load_tokenizer(source, settings))
        self._digest = "" if self._local is None else tokenizer_digest(self._local.tokenizer)
        self._accepts_ids = False
        self._method: Method | None = None  # found at the first log-likelihood request
        self._lists_left: float = _MAX_USELESS_LISTS
        self._warned: set[str] = set()
        self._server = self._run(self._open())

    async def _open(self) -> Server:
        async with Client(self._settings) as client:
            server = await find_server(client, self._name)
            if self._local is not None:
                await check_same_tokenizer(client, server, self._local)
                self._accepts_ids = await Completions(client, server, self._local).accepted()
            return server

    @property
    def runtime(self) -> Runtime:
        """What the server reports about itself, and the tokenizer on this machine."""
        server = self._server
        program = " ".join(filter(None, (server.kind, server.version)))
        dtype = str(server.facts.get("ftype") or server.facts.get("dtype") or "unknown")
        return Runtime(
            device="server",
            hardware=f"unknown (behind {program} server)",
            dtype=dtype,
            tokenizer=self._digest,
            versions={"httpx": version("httpx")}
            | ({server.kind: server.version} if server.version else {})
            | ({"scoring": self._method.value} if self._method else {}),
            stack=served_stack(self._settings, program, dtype),
        )

    def render_chat(self, messages: Sequence[Message]) -> str:
        """Return the prompt that the chat template renders: that of the tokenizer here, else the server's.

        A missing template, or one that rejects the messages, is a TaskError.
        """
        if self._local is not None:
            return render_chat(self._local.tokenizer, messages, self._name)
        return self._run(self._apply_template(messages))

    async def _apply_template(self, messages: Sequence[Message]) -> str:
        cause = "its server has no route that renders chats (only llama.cpp's has one)"
        if self._server.kind == "llama.cpp":
            try:
                async with Client(self._settings) as client:
                    body = {"messages": [asdict(message) for message in messages]}
                    reply = await client.request("apply-template", body)
                if isinstance(reply, dict) and isinstance(reply.get("prompt"), str):
                    return str(reply["prompt"])
            except RefusedError as error:
                cause = error.message
        raise TaskError(
            f"chat_template: true, but {self._name} cannot render the chat: {cause}.",
            "Set `tokenizer:` to a folder or hub name with the served model's tokenizer and chat template.",
        )

    def loglikelihood(self, requests: Sequence[LoglikelihoodRequest], progress: Progress) -> list[LoglikelihoodAnswer]:
        """Answer log-likelihood requests, in their order."""

        async def answer(scorer: Scorer, request: LoglikelihoodRequest, lane: int) -> LoglikelihoodAnswer:
            if self._local is not None and self._method in (Method.TEXT, Method.LIST):
                request = replace(request, context=self._local.without_bos(request.context))
            scores = await scorer.score(request, _list_length(request), lane)
            if scores.truncated:
                self._warn("some prompts are longer than the server's context; they were cut on the left")
            return self._with_distribution(
                LoglikelihoodAnswer(
                    tuple(score.loglikelihood for score in scores.scores),
                    scores.tokens_in,
                    scores.tokens_out,
                    tuple(score.greedy for score in scores.scores),
                ),
                request,
                scores.first,
            )

        return self._score_each(requests, answer, progress)

    def loglikelihood_rolling(self, requests: Sequence[RollingRequest], progress: Progress) -> list[RollingAnswer]:
        """Answer rolling requests, in their order."""
        return self._score_each(requests, lambda scorer, text, lane: scorer.rolling(text, lane), progress)

    def generate_until(self, requests: Sequence[GenerateRequest], progress: Progress) -> list[GenerateAnswer]:
        """Answer generation requests, in their order."""
        prompts = self._prompts(requests)

        async def work() -> list[GenerateAnswer]:
            async with Client(self._settings) as client:
                tokens = self._local if self._accepts_ids else None
                completions = Completions(client, self._server, tokens)

                async def answer(index: int, _: int) -> GenerateAnswer:
                    request, prompt = requests[index], prompts[index]
                    answer = await generate(completions, prompt, request)
                    if self._lists_left > 0 and (request.top or request.reference is not None):
                        first = await self._first_tokens(completions, prompt, request)
                        answer = self._with_distribution(answer, request, first)
                    progress(1)
                    return answer

                return await in_lanes(len(requests), self._settings.concurrency, answer)

        return self._run(work())

    def _prompts(self, requests: Sequence[GenerateRequest]) -> Sequence[list[int] | str]:
        if self._local is None:
            return [request.context for request in requests]
        if not self._accepts_ids:
            return [self._local.without_bos(request.context) for request in requests]
        return generation_prompts(self._local.tokenizer, requests, self._server.max_length)

    def _score_each(
        self, requests: Sequence[T], answer: Callable[[Scorer, T, int], Awaitable[R]], progress: Progress
    ) -> list[R]:
        async def work() -> list[R]:
            async with Client(self._settings) as client:
                tokens = self._local or await RemoteTokens.open(client, self._server)
                if self._method is None:
                    self._method = await find_method(client, self._server, tokens)
                scorer = make_scorer(self._method, client, self._server, tokens, self._settings.concurrency)

                async def answer_one(index: int, lane: int) -> R:
                    result = await answer(scorer, requests[index], lane)
                    progress(1)
                    return result

                return await in_lanes(len(requests), scorer.lanes, answer_one)

        return self._run(work()) if requests else []

    async def _first_tokens(
        self, completions: Completions, prompt: list[int] | str, request: GenerateRequest
    ) -> tuple[Likely, ...]:
        """Request the likeliest first tokens of a text; return nothing if they are unavailable."""
        tokens: tuple[Likely, ...] = ()
        # without a tokenizer on this machine, ids cannot be compared with the reference
        if request.reference is None or self._local is not None:
            try:
                tokens, _ = await completions.likeliest(prompt, _list_length(request), attempts=2)
            except EvaluationError as error:
                # the text was generated; a missing distribution must not fail the request
                _LOG.debug("%s: no likely tokens: %s", self._name, error.message)
        self._lists_left = math.inf if has_ids(tokens) else self._lists_left - 1
        return tokens

    def _with_distribution(
        self, answer: Measured, request: LoglikelihoodRequest | GenerateRequest, first: tuple[Likely, ...]
    ) -> Measured:
        """Add the requested distribution or divergence of the first token, if the server's list allows it."""
        if request.reference is None and not request.top:
            return answer
        if request.reference is None:
            answer = replace(answer, distribution=distribution(first))
        elif self._local is not None:
            answer = replace(answer, divergence=divergence(request.reference, first))
        if answer.distribution is None and answer.divergence is None:
            cause = "the server lists no likely tokens"
            if request.reference is not None and self._local is None:
                cause = "set `tokenizer:`, so that token ids can be compared"
            elif first:
                cause = "the server names likely tokens by text only"
            self._warn(f"KL divergence is left out: {cause}")
        return answer

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            _LOG.warning("%s: %s", self._name, message)


def _list_length(request: LoglikelihoodRequest | GenerateRequest) -> int:
    """Return how many likely tokens to request: twice the reference's, since the two lists may differ."""
    return min(_MAX_TOP, len(request.reference.tokens) * 2 if request.reference else request.top)
