"""Text generation with `/v1/chat/completions`: the server applies its chat template."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel

from gate.engines.openai.client import Client, RefusedError
from gate.engines.openai.generate import finished, stop_strings
from gate.engines.openai.sampling import explained, sampling_options
from gate.engines.openai.server import Server
from gate.engines.openai.template import render_on_server
from gate.engines.openai.tokens import LocalTokens
from gate.engines.openai.wire import Usage, read
from gate.engines.tokens.tokenizer import encode, render_chat
from gate.errors import EvaluationError, TaskError
from gate.tasks import Message
from gate.tasks.chat import ChatFormat
from gate.tasks.reasoning import Separated, separate
from gate.tasks.requests import GenerateAnswer, GenerateRequest

_LOG = logging.getLogger(__name__)
_ROUTE = "v1/chat/completions"
_NEW_LENGTH = "max_completion_tokens"
_NO_ROUTE = (404, 405, 501)


class _Reply(BaseModel):
    content: str | None = None
    reasoning_content: str | None = None  # SGLang, llama.cpp, older vLLM
    reasoning: str | None = None  # vLLM


class _Choice(BaseModel):
    message: _Reply
    finish_reason: str | None = None


class _ChatCompletion(BaseModel):
    choices: list[_Choice]
    usage: Usage | None = None


class ChatRoute:
    """The chat route of a server.

    `local` is the served model's tokenizer on this machine, or None. It renders the same chats; the numbers of tokens
    tell whether the server renders them alike.
    """

    def __init__(self, server: Server, local: LocalTokens | None) -> None:
        self._server, self._local = server, local
        self._length = "max_tokens"
        self._alike: dict[str, bool] = {}  # by template variables: whether the tokenizer here gives the same prompt

    async def prompt(self, client: Client, messages: Sequence[Message], chat: ChatFormat) -> str:
        """Return the prompt that the server makes of a chat; empty if it is not known.

        Raises
        ------
        TaskError
            The server has no chat route, or ignores the variables of the chat template.
        EvaluationError
            The server fails.
        """
        if chat.template_kwargs not in self._alike:
            self._alike[chat.template_kwargs] = await self._compare(client, messages, chat)
        if not self._alike[chat.template_kwargs]:
            return ""
        if self._local is None:
            return await render_on_server(client, self._server, self._server.model, messages, chat)
        return self._rendered(messages, chat) or ""

    def ids(self, prompt: str) -> list[int] | str:
        """Return a rendered prompt as the server reads it: token ids, or "" if they are not known."""
        return self._encoded(prompt)[0] if self._local is not None and prompt else ""

    async def answer(self, client: Client, request: GenerateRequest) -> GenerateAnswer:
        """Return the server's answer, without its reasoning, cut before the first stop string.

        Raises
        ------
        EvaluationError, TaskError
            As `gate.engines.openai.generate.generate`; or the server has no chat route.
        """
        options = sampling_options(self._server, request) | stop_strings(request)
        try:
            reply = await self._request(client, request.messages, request.template_kwargs, request.max_tokens, options)
        except EvaluationError as error:
            raise explained(error, self._server, request) from None
        if not reply.choices:
            raise EvaluationError(f"the server answers /{_ROUTE} without a choice.")
        choice = reply.choices[0]
        text = choice.message.content or ""
        reasoning = choice.message.reasoning_content or choice.message.reasoning
        if reasoning is not None:
            separated = Separated(text.lstrip(), reasoning.strip(), bool(text.strip()))
        else:
            opened = request.reasoning is not None and request.reasoning.opened_by(request.context)
            separated = separate(text, request.reasoning, opened)
        return finished(request, separated, choice.finish_reason, reply.usage)

    async def _compare(self, client: Client, messages: Sequence[Message], chat: ChatFormat) -> bool:
        """Return whether the server's prompts are known: rendered by llama.cpp, or by an equal template here.

        The variables of the template must not be ignored.
        """
        count = await self._count(client, messages, chat.template_kwargs)
        prompt = self._rendered(messages, chat)
        counts = [len(ids) for ids in self._encoded(prompt)] if prompt else []
        if self._local is None and self._server.kind == "llama.cpp":
            return True
        if count is not None and count in counts:
            return True
        where = f"{self._server.model}: the server {client.address}"
        if chat.template_kwargs != "{}":
            plain = await self._count(client, messages, "{}")
            if count is not None and plain == count:
                if counts:
                    raise TaskError(
                        f"{where} ignores chat_template_kwargs: with and without {chat.template_kwargs}, the prompt of "
                        f"the first item has {count} tokens; the tokenizer here gives {counts[0]}.",
                        "Update the server, use a template that knows these variables, or remove them.",
                    )
                _LOG.warning(
                    "%s may ignore chat_template_kwargs: with and without %s, the first prompt has %d tokens",
                    where,
                    chat.template_kwargs,
                    count,
                )
        if counts:
            _LOG.warning(
                "%s renders chats differently from the tokenizer here (%s tokens, expected %d): prompts are not "
                "compared with the baseline's, and KL divergence is left out",
                where,
                "an unknown number of" if count is None else count,
                counts[0],
            )
        return False

    def _rendered(self, messages: Sequence[Message], chat: ChatFormat) -> str | None:
        """Return the prompt that the tokenizer here renders; None if it cannot, which the server may."""
        if self._local is None:
            return None
        try:
            return render_chat(self._local.tokenizer, messages, self._server.model, chat)
        except TaskError as error:
            _LOG.debug("%s", error.message)
            return None

    def _encoded(self, prompt: str) -> list[list[int]]:
        """Return the token ids of a rendered chat, without and with further special tokens."""
        assert self._local is not None  # noqa: S101 - it rendered the chat
        return [encode(self._local.tokenizer, [prompt], special=special)[0] for special in (False, True)]

    async def _count(self, client: Client, messages: Sequence[Message], template_kwargs: str) -> int | None:
        """Return the number of tokens in the server's prompt, if it tells."""
        reply = await self._request(client, messages, template_kwargs, 1, {"temperature": 0})
        return None if reply.usage is None else reply.usage.prompt_tokens

    async def _request(
        self,
        client: Client,
        messages: Sequence[Message],
        template_kwargs: str,
        max_tokens: int,
        options: dict[str, Any],
    ) -> _ChatCompletion:
        body = {"model": self._server.model, "messages": [asdict(message) for message in messages], **options}
        if template_kwargs != "{}":
            body["chat_template_kwargs"] = json.loads(template_kwargs)
        length = self._length
        try:
            reply = await client.request(_ROUTE, body | {length: max_tokens})
        except RefusedError as error:
            if length == "max_tokens" and _NEW_LENGTH in error.message:  # newer models of OpenAI
                self._length = _NEW_LENGTH
                return await self._request(client, messages, template_kwargs, max_tokens, options)
            if error.status in _NO_ROUTE:
                raise TaskError(
                    f"chat: true, but {error.message}",
                    "Serve the model with a chat route, or set chat_template: true (and `tokenizer:`) instead of chat, "
                    "which renders chats on this machine.",
                ) from None
            raise
        return read(_ChatCompletion, reply, _ROUTE)
