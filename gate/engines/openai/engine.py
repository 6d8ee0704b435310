"""The engine for models behind a server that speaks OpenAI's protocol."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any, TypeVar

from gate.config import EngineSettings
from gate.engines.base import Progress, Runtime
from gate.engines.openai.chat import ChatRoute
from gate.engines.openai.client import Client
from gate.engines.openai.completions import Completions
from gate.engines.openai.first import FirstTokens
from gate.engines.openai.generate import generate
from gate.engines.openai.lanes import Runner, in_lanes, run
from gate.engines.openai.method import Support, find_support, make_scorer
from gate.engines.openai.partial import distribution, divergence
from gate.engines.openai.sampling import doubtful_settings
from gate.engines.openai.scoring import Scorer, Scores
from gate.engines.openai.server import Server, find_server
from gate.engines.openai.template import render_on_server
from gate.engines.openai.tokens import LocalTokens, RemoteTokens, check_same_tokenizer
from gate.engines.openai.wire import Likely
from gate.engines.source import ModelSource
from gate.engines.stack import served_stack
from gate.engines.tokens.load import load_tokenizer, tokenizer_digest
from gate.engines.tokens.sequences import generation_prompts
from gate.engines.tokens.tokenizer import render_chat
from gate.errors import EvaluationError
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

_CALLS_PER_LANE = 4

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
        self._support: Support | None = None  # found at the first log-likelihood request
        self._first = FirstTokens(self._name)
        self._warned: set[str] = set()
        self._server = self._run(self._open())
        self._chat = ChatRoute(self._server, self._local)

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
            | ({"scoring": self._support.method.value} if self._support else {}),
            stack=served_stack(self._settings, program, dtype),
        )

    def render_chat(self, messages: Sequence[Message], chat: ChatFormat = TEMPLATE_ONLY) -> str:
        """Return the prompt that the chat template renders: that of the tokenizer here, else the server's.

        A missing template, or one that rejects the messages, is a TaskError. For the chat route, see `ChatRoute`.
        """
        if self._local is not None and not chat.route:
            return render_chat(self._local.tokenizer, messages, self._name, chat)

        async def work() -> str:
            async with Client(self._settings) as client:
                if chat.route:
                    return await self._chat.prompt(client, messages, chat)
                return await render_on_server(client, self._server, self._name, messages, chat)

        return self._run(work())

    def loglikelihood(self, requests: Sequence[LoglikelihoodRequest], progress: Progress) -> list[LoglikelihoodAnswer]:
        """Answer log-likelihood requests, in their order."""

        async def answer(scorer: Scorer, group: Sequence[LoglikelihoodRequest], lane: int) -> list[LoglikelihoodAnswer]:
            if self._local is not None and self._support is not None and not self._support.sends_ids:
                local = self._local
                group = [replace(request, context=local.without_bos(request.context)) for request in group]
            scores = await scorer.score(group, lane)
            return [self._answer(request, each) for request, each in zip(group, scores, strict=True)]

        return self._score_each(requests, answer, progress)

    def _answer(self, request: LoglikelihoodRequest, scores: Scores) -> LoglikelihoodAnswer:
        if scores.truncated:
            self._warn("some prompts are longer than the server's context; they were cut on the left")
        answer = LoglikelihoodAnswer(
            tuple(score.loglikelihood for score in scores.scores),
            scores.tokens_in,
            scores.tokens_out,
            tuple(score.greedy for score in scores.scores),
        )
        return self._with_distribution(answer, request, scores.first)

    def loglikelihood_rolling(self, requests: Sequence[RollingRequest], progress: Progress) -> list[RollingAnswer]:
        """Answer rolling requests, in their order."""
        return self._score_each(requests, lambda scorer, group, lane: scorer.rolling(group, lane), progress)

    def generate_until(self, requests: Sequence[GenerateRequest], progress: Progress) -> list[GenerateAnswer]:
        """Answer generation requests, in their order."""
        prompts = self._prompts(requests)
        doubtful = {name: None for request in requests for name in doubtful_settings(self._server, request)}
        if doubtful:
            self._warn(f"the server is of an unknown kind, and may ignore {', '.join(doubtful)}")

        async def work() -> list[GenerateAnswer]:
            async with Client(self._settings) as client:
                tokens = self._local if self._accepts_ids else None
                completions = Completions(client, self._server, tokens)

                async def answer(index: int, _: int) -> GenerateAnswer:
                    request, prompt = requests[index], prompts[index]
                    if request.messages:
                        answer = await self._chat.answer(client, request)
                    else:
                        answer = await generate(completions, prompt, request)
                    if self._first.are_wanted(request) and (prompt or not request.messages):
                        # without a tokenizer on this machine, ids cannot be compared with the reference
                        compares = request.reference is None or self._local is not None
                        first = await self._first.after(client, completions, prompt, request) if compares else ()
                        answer = self._with_distribution(answer, request, first)
                    progress(1)
                    return answer

                if any(request.reference for request in requests):
                    await self._first.probe(client, completions)
                return await in_lanes(len(requests), self._settings.concurrency, answer)

        return self._run(work())

    def _prompts(self, requests: Sequence[GenerateRequest]) -> Sequence[list[int] | str]:
        """Return what is sent to `/v1/completions` for each request; "" if that prompt is not known."""
        if self._local is None:
            return [request.context for request in requests]
        if not self._accepts_ids:
            return [self._local.without_bos(request.context) for request in requests]
        plain = [request for request in requests if not request.messages]
        prompts = iter(generation_prompts(self._local.tokenizer, plain, self._server.max_length))
        return [self._chat.ids(request.context) if request.messages else next(prompts) for request in requests]

    def _score_each(
        self,
        requests: Sequence[T],
        answer: Callable[[Scorer, Sequence[T], int], Awaitable[list[R]]],
        progress: Progress,
    ) -> list[R]:
        async def work() -> list[R]:
            async with Client(self._settings) as client:
                tokens = self._local or await RemoteTokens.open(client, self._server)
                if self._support is None:
                    self._support = await find_support(client, self._server, tokens)
                scorer = make_scorer(self._support, client, self._server, tokens, self._settings.concurrency)
                # several calls per lane, so that no lane waits long for the last one
                size = max(1, min(scorer.at_once, len(requests) // (scorer.lanes * _CALLS_PER_LANE)))
                groups = [requests[start : start + size] for start in range(0, len(requests), size)]

                async def answer_group(index: int, lane: int) -> list[R]:
                    try:
                        results = await answer(scorer, groups[index], lane)
                    except EvaluationError as error:
                        raise _located(error, groups[index]) from None
                    progress(len(results))
                    return results

                answers = await in_lanes(len(groups), scorer.lanes, answer_group)
                return [each for group in answers for each in group]

        return self._run(work()) if requests else []

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


def _located(error: EvaluationError, requests: Sequence[Any]) -> EvaluationError:
    """Return the error of requests that were sent together, with the end of the first prompt."""
    text = str(getattr(requests[0], "context", None) or getattr(requests[0], "text", ""))
    what = "The prompt" if len(requests) == 1 else f"The first of {len(requests)} prompts"
    return EvaluationError(f"{error.message.rstrip('.')}. {what} ends with {text.strip()[-40:]!r}.", error.hint)
