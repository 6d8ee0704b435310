"""The engine that asks a server. It holds no weights: what it cannot find out about the model, it says."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any, TypeVar

import jinja2

from gate.config import EngineSettings
from gate.engines.base import (
    Distribution,
    Divergence,
    GenerateAnswer,
    GenerateRequest,
    LoglikelihoodAnswer,
    LoglikelihoodRequest,
    Progress,
    RollingAnswer,
    RollingRequest,
    Runtime,
)
from gate.engines.openai.client import Client, RefusedError, in_lanes, run
from gate.engines.openai.echo import Completions, EchoScorer
from gate.engines.openai.generate import generate, prompt_of
from gate.engines.openai.llamacpp import LlamaCppScorer
from gate.engines.openai.partial import distribution, divergence
from gate.engines.openai.probe import PROMPTS, align, refuse_misaligned
from gate.engines.openai.scoring import Scorer, Scores
from gate.engines.openai.server import Server, find_server
from gate.engines.openai.toplist import TopListScorer
from gate.engines.openai.wire import Likely
from gate.engines.source import ModelSource
from gate.engines.tokens.served import LocalTokens, Tokens, check_same, remote_tokens
from gate.errors import EvaluationError, TaskError
from gate.tasks import Message

_LOG = logging.getLogger(__name__)
_FORCED_TOLERANCE = 0.05  # nats, between a listed token and the same one forced, on the same position
_MOST = 4096  # likely tokens that a server is asked for: a whole vocabulary is megabytes of JSON an item
_TRIES = 8  # texts whose likely tokens a server is asked for in vain; one that ends at once may have none
_METHODS = {
    "forced": "token by token, each forced by a bias",
    "ids": "echo of token ids",
    "text": "echo of texts",
    "list": "list of likely next tokens",
}
_NO_PROMPT = "the server gives neither log-probabilities of prompts (`echo`) nor lists of likely next tokens"

T = TypeVar("T")
R = TypeVar("R")


class OpenAIEngine:
    """Answers requests by a server that speaks OpenAI's protocol; see `gate.engines.base.Engine`.

    Parameters
    ----------
    source : ModelSource
        Of a served model. Its tokenizer folder, where it has one, must hold the served model's tokenizer: texts are
        then tokenised here, and the server is asked in token ids.
    settings : EngineSettings

    Raises
    ------
    ModelError
        The server serves another model, or tokenises otherwise than the tokenizer given.
    EvaluationError
        The server cannot be reached.
    """

    def __init__(self, source: ModelSource, settings: EngineSettings) -> None:
        self._name = source.settings.model
        self._settings = settings
        self._tokenizer: Any = None
        self._digest = ""
        if source.tokenizer_folder is not None:
            from gate.engines.hf.model.load import load_tokenizer, tokenizer_digest

            self._tokenizer = load_tokenizer(source, settings)
            self._digest = tokenizer_digest(self._tokenizer)
        self._local = LocalTokens(self._tokenizer) if self._tokenizer is not None else None
        self._takes_ids = False
        self._form: str | None = None  # how it is asked for log-likelihoods, once that was tried
        self._asking: float = _TRIES  # for so many texts more it is asked for the likeliest tokens
        self._said: set[str] = set()
        self._server = run(self._open())

    async def _open(self) -> Server:
        async with Client(self._settings) as client:
            server = await find_server(client, self._name)
            if self._local is not None:
                await check_same(client, server, self._local, await remote_tokens(client, server))
                self._takes_ids = await Completions(client, server, self._local).answers()
            return server

    @property
    def runtime(self) -> Runtime:
        """What the server says of itself; a tokenizer only where there is one on this machine."""
        program = " ".join(filter(None, (self._server.kind, self._server.version)))
        return Runtime(
            device="server",
            hardware=f"unknown (behind {program} server)",
            dtype=str(self._server.facts.get("ftype") or self._server.facts.get("dtype") or "unknown"),
            tokenizer=self._digest,
            versions={"httpx": version("httpx")}
            | ({self._server.kind: self._server.version} if self._server.version else {})
            | ({"scoring": _METHODS[self._form]} if self._form else {}),
        )

    def render_chat(self, messages: Sequence[Message]) -> str:
        """Return the prompt that the chat template makes of `messages`: the tokenizer's here, else the server's.

        Raises
        ------
        TaskError
            There is neither, or the template refuses the messages.
        """
        turns = [{"role": message.role, "content": message.content} for message in messages]
        begun = turns[-1]["role"] == "assistant"  # the answer's beginning is given, and goes on
        if self._tokenizer is not None:
            try:
                return str(
                    self._tokenizer.apply_chat_template(
                        turns,
                        tokenize=False,
                        add_generation_prompt=not begun,
                        continue_final_message=begun,
                    )
                )
            except (ValueError, jinja2.TemplateError) as error:
                raise TaskError(
                    f"chat_template: true, but the tokenizer of {self._name} cannot render the chat: {error}",
                    "Set chat_template: false, or use a tokenizer that ships a chat template.",
                ) from None
        return run(self._apply_template(turns))

    async def _apply_template(self, turns: list[dict[str, str]]) -> str:
        words = "its server shows no chat template as text (only llama.cpp's does)"
        if self._server.kind == "llama.cpp":
            try:
                async with Client(self._settings) as client:
                    answer = await client.post("apply-template", {"messages": turns})
                if isinstance(answer, dict) and isinstance(answer.get("prompt"), str):
                    return str(answer["prompt"])
            except RefusedError as refusal:
                words = refusal.message
        raise TaskError(
            f"chat_template: true, but {self._name} cannot render the chat: {words}.",
            "Set `tokenizer:` to a folder or hub name with the served model's tokenizer and chat template.",
        )

    def loglikelihood(
        self, requests: Sequence[LoglikelihoodRequest], progress: Progress
    ) -> list[LoglikelihoodAnswer]:
        """Answer log-likelihood requests, in their order."""

        async def one(scorer: Scorer, request: LoglikelihoodRequest, lane: int) -> LoglikelihoodAnswer:
            wanted = _wanted(request)
            if self._local is not None and self._form in ("text", "list"):
                request = replace(request, context=self._local.as_text(request.context))
            return self._answer(request, await scorer.score(request, wanted, lane))

        return self._each(requests, one, progress)

    def loglikelihood_rolling(
        self, requests: Sequence[RollingRequest], progress: Progress
    ) -> list[RollingAnswer]:
        """Answer requests for whole texts, in their order."""

        async def one(scorer: Scorer, request: RollingRequest, lane: int) -> RollingAnswer:
            return await scorer.rolling(request, lane)

        return self._each(requests, one, progress)

    def generate_until(self, requests: Sequence[GenerateRequest], progress: Progress) -> list[GenerateAnswer]:
        """Answer generation requests, in their order."""

        async def work() -> list[GenerateAnswer]:
            async with Client(self._settings) as client:
                completions = Completions(client, self._server, self._local if self._takes_ids else None)

                async def one(index: int, _: int) -> GenerateAnswer:
                    request = requests[index]
                    prompt = await prompt_of(self._server, self._local, self._takes_ids, request)
                    answer = await generate(client, self._server, prompt, request)
                    if self._asking > 0 and (request.top or request.reference is not None):
                        first = await self._first(completions, prompt, request)
                        stored, moved = self._measured(request, first)
                        answer = replace(answer, distribution=stored, divergence=moved)
                    progress(1)
                    return answer

                return await in_lanes(len(requests), self._settings.concurrency, one)

        return run(work())

    def _each(
        self, requests: Sequence[T], one: Callable[[Scorer, T, int], Awaitable[R]], progress: Progress
    ) -> list[R]:
        async def work() -> list[R]:
            async with Client(self._settings) as client:
                scorer = await self._scorer(client)

                async def numbered(index: int, lane: int) -> R:
                    answer = await one(scorer, requests[index], lane)
                    progress(1)
                    return answer

                return await in_lanes(len(requests), scorer.lanes, numbered)

        return run(work()) if requests else []

    async def _scorer(self, client: Client) -> Scorer:
        """Return the way to score on this server; the first time, it is tried on probes.

        Raises
        ------
        EvaluationError
            There is none, or what the server gives is not what it says.
        """
        tokens: Tokens | None = self._local or await remote_tokens(client, self._server)
        lanes = self._settings.concurrency
        if self._server.kind == "llama.cpp" and tokens is not None:
            native = LlamaCppScorer(client, self._server, tokens, lanes)
            if self._form is None:
                listed, made = await native.check(PROMPTS[0])
                if not abs(listed - made) <= _FORCED_TOLERANCE:
                    raise EvaluationError(
                        f"the server {client.address} reports {made:.3f} nats for a token that a bias forces, and "
                        f"{listed:.3f} for the same one in a list: its log-probabilities are not the model's own.",
                        "Use another build of llama.cpp, without sampling on the device.",
                    )
                self._form = "forced"
            return native
        if self._form is None:
            self._form = await self._probe(client, tokens)
        completions = Completions(client, self._server, tokens if self._form == "ids" else None)
        if self._form == "list":
            return TopListScorer(completions, lanes)
        return EchoScorer(completions, lanes, self._server.max_length)

    async def _probe(self, client: Client, tokens: Tokens | None) -> str:
        """Return how the server can be asked: by `ids` or `text` with echo, or for the `list` of next tokens."""
        as_ids = Completions(client, self._server, tokens)
        as_text = Completions(client, self._server, None)
        forms = [("ids", as_ids)] if tokens is not None and await as_ids.answers() else []
        for form, completions in [*forms, ("text", as_text)]:
            found = await align(completions)
            refuse_misaligned(found, client.address)
            if found.tokens:
                return form
        top, _ = await as_text.likeliest(PROMPTS[0], 5)
        if not top:
            raise EvaluationError(
                f"the server {client.address}: {_NO_PROMPT}, so that choices cannot be scored.",
                "Serve the model with vLLM, SGLang or llama.cpp's own server, or use generate_until tasks.",
            )
        return "list"

    def _answer(self, request: LoglikelihoodRequest, scores: Scores) -> LoglikelihoodAnswer:
        if scores.cut:
            self._say("some prompts are longer than the server's context; they were cut on the left")
        stored, moved = self._measured(request, scores.first)
        return LoglikelihoodAnswer(
            scores.loglikelihoods, scores.tokens_in, scores.tokens_out, scores.greedy, stored, moved
        )

    async def _first(
        self, completions: Completions, prompt: list[int] | str, request: GenerateRequest
    ) -> tuple[Likely, ...]:
        """Return the likeliest first tokens of a text, with a request of their own; none where the server has none."""
        found: tuple[Likely, ...] = ()
        # without a tokenizer here its ids could not be compared
        if request.reference is None or self._local is not None:
            try:
                found, _ = await completions.likeliest(prompt, _wanted(request), attempts=2)
            except EvaluationError as error:
                # the text is there: what is measured beside it is not worth a failure
                _LOG.debug("%s: no likely tokens: %s", self._name, error.message)
        listed = bool(found) and all(one.id is not None for one in found)
        self._asking = math.inf if listed else self._asking - 1
        return found

    def _measured(
        self, request: LoglikelihoodRequest | GenerateRequest, first: tuple[Likely, ...]
    ) -> tuple[Distribution | None, Divergence | None]:
        """Return what a request asks about the answer's first token; None and None where the server hides it."""
        stored: Distribution | None = None
        moved: Divergence | None = None
        if request.reference is not None:
            # without a tokenizer here nobody knows that the server's ids are the baseline's
            moved = divergence(request.reference, first) if self._local is not None else None
        elif request.top:
            stored = distribution(first)
        if (request.reference or request.top) and stored is None and moved is None:
            why = (
                "the server names likely tokens by text only"
                if first
                else "the server lists no likely tokens"
            )
            if request.reference is not None and self._local is None:
                why = "set `tokenizer:`, so that token ids can be compared"
            self._say(f"KL divergence is left out: {why}")
        return stored, moved

    def _say(self, what: str) -> None:
        if what not in self._said:
            self._said.add(what)
            _LOG.warning("%s: %s", self._name, what)


def _wanted(request: LoglikelihoodRequest | GenerateRequest) -> int:
    """Return how many likely tokens a server is asked for: its list need not hold the same as the reference's."""
    return min(_MOST, len(request.reference.tokens) * 2 if request.reference else request.top)
