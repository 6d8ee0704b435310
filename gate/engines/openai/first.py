"""The tokens that a server may begin a generated text with, for KL divergence."""

from __future__ import annotations

import logging
import math

from gate.engines.openai.client import Client
from gate.engines.openai.completions import Completions
from gate.engines.openai.given import GivenIds, find_given_ids, given_all
from gate.engines.openai.partial import has_ids
from gate.engines.openai.probe import PROMPTS
from gate.engines.openai.scoring import list_length
from gate.engines.openai.sglang import Generate
from gate.engines.openai.wire import Likely
from gate.errors import EvaluationError
from gate.tasks.requests import GenerateRequest

_LOG = logging.getLogger(__name__)
# useless lists of first tokens before requests for them stop; a text that ends at once may have an empty list
_MAX_USELESS_LISTS = 8


class FirstTokens:
    """Asks one server for first tokens, until it has returned several useless lists."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._left: float = _MAX_USELESS_LISTS
        self._given: GivenIds | None = None
        self._has_probed = False

    def are_wanted(self, request: GenerateRequest) -> bool:
        """Return whether to ask for the first tokens of a text."""
        return self._left > 0 and bool(request.top or request.reference)

    async def probe(self, client: Client, completions: Completions) -> None:
        """Find out, once, whether the server returns given ids."""
        if not self._has_probed:
            self._given = await find_given_ids(client, completions, PROMPTS[0])
            self._has_probed = True

    async def after(
        self, client: Client, completions: Completions, prompt: list[int] | str, request: GenerateRequest
    ) -> tuple[Likely, ...]:
        """Return the tokens of the request's reference, or the likeliest tokens; nothing if they are unavailable."""
        tokens: tuple[Likely, ...] = ()
        try:
            tokens = await self._ask(client, completions, prompt, request)
        except EvaluationError as error:
            # the text was generated; a missing distribution must not fail the request
            _LOG.debug("%s: no likely tokens: %s", self._name, error.message)
        self._left = math.inf if has_ids(tokens) else self._left - 1
        return tokens

    async def _ask(
        self, client: Client, completions: Completions, prompt: list[int] | str, request: GenerateRequest
    ) -> tuple[Likely, ...]:
        if isinstance(prompt, list) and completions.tokens is not None:
            ids = list(request.reference.ids) if request.reference else []
            if completions.server.kind == "sglang":
                top = 1 if ids else list_length(request)
                return (await Generate(client, completions.tokens).after([prompt], [ids], top))[0]
            if ids and self._given is not None:
                return await given_all(completions, prompt, ids, self._given, attempts=2)
        tokens, _ = await completions.likeliest(prompt, list_length(request), attempts=2)
        return tokens
