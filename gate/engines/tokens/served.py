"""Tokens of a served model: by a tokenizer on this machine, by the server's own route, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gate.engines.base import LoglikelihoodRequest, RollingRequest
from gate.engines.openai.client import Client, RefusedError
from gate.engines.openai.server import Server
from gate.engines.tokens.requests import beginning, encode
from gate.errors import EvaluationError, ModelError

SAMPLES = (
    "The capital of France is Paris.",
    "  two  spaces,\n\nlines and 1234567 figures",
    "naïve café – 東京 🙂",
    "def f(x):\n\treturn x**2  # don't",
)
"""Texts on which two tokenizers that differ in anything usual show it."""


class Tokens(Protocol):
    """Turns texts into token ids, with the special tokens that the model's texts begin with."""

    async def encode(self, texts: Sequence[str], special: bool = True) -> list[list[int]]:
        """Return the ids of each text, without the special ones before it where `special` is false."""

    async def beginning(self) -> int | None:
        """Return the id that an empty text becomes."""


class LocalTokens:
    """A transformers tokenizer on this machine."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    async def encode(self, texts: Sequence[str], special: bool = True) -> list[list[int]]:
        """Return the ids of each text."""
        return encode(self.tokenizer, texts, special=special)

    async def beginning(self) -> int | None:
        """Return BOS, else EOS."""
        return beginning(self.tokenizer)

    def as_text(self, text: str) -> str:
        """Return a text for a server that takes no ids: without the BOS that the server puts before it itself."""
        bos = self.tokenizer.bos_token
        if not bos or not text.startswith(bos):
            return text
        adds = self.tokenizer(["a"], add_special_tokens=True)["input_ids"][0][:1] == [
            self.tokenizer.bos_token_id
        ]
        return text.removeprefix(bos) if adds else text


class RemoteTokens:
    """The server's own tokenizer, by its route /tokenize (vLLM, SGLang, llama.cpp)."""

    def __init__(self, client: Client, server: Server) -> None:
        self._client, self._server = client, server
        self._special: list[int] | None = None

    async def encode(self, texts: Sequence[str], special: bool = True) -> list[list[int]]:
        """Return the ids of each text."""
        if self._special is None:
            bare, whole = await self._ask("a", False), await self._ask("a", True)
            self._special = whole[: len(whole) - len(bare)] if whole[-len(bare) :] == bare else []
        known: dict[str, list[int]] = {}
        for text in texts:
            if text not in known:
                ids = await self._ask(text, False)
                begins = ids[: len(self._special)] == self._special
                known[text] = ids if begins or not special else self._special + ids
        return [known[text] for text in texts]

    async def beginning(self) -> int | None:
        """Return the token that the server puts before texts, else llama.cpp's BOS."""
        start = (await self.encode([""]))[0]
        if not start and self._server.bos:
            start = await self._ask(self._server.bos, False)
        return start[0] if start else None

    async def _ask(self, text: str, special: bool) -> list[int]:
        if self._server.kind == "llama.cpp":
            body: dict[str, Any] = {"content": text, "add_special": special, "parse_special": True}
        else:
            body = {"model": self._server.model, "prompt": text, "add_special_tokens": special}
        answer = await self._client.post("tokenize", body)
        ids = answer.get("tokens") if isinstance(answer, dict) else None
        if not isinstance(ids, list) or not all(isinstance(one, int) for one in ids):
            raise RefusedError(200, f"the server {self._client.address} answers /tokenize without token ids.")
        return ids


async def remote_tokens(client: Client, server: Server) -> RemoteTokens | None:
    """Return the server's tokenizer, or None where it shows none."""
    remote = RemoteTokens(client, server)
    try:
        await remote.encode(["a"])
    except RefusedError:
        return None
    return remote


async def check_same(client: Client, server: Server, local: LocalTokens, remote: Tokens | None) -> None:
    """Refuse a tokenizer on this machine that is not the served model's.

    Where the server has no route for it, the numbers of tokens that it counts are compared.

    Raises
    ------
    ModelError
        They differ; the message has the text.
    """
    mine = await local.encode(SAMPLES)
    for text, ids in zip(SAMPLES, mine, strict=True):
        if remote is not None:
            theirs = (await remote.encode([text]))[0]
            same, found = theirs == ids, f"{theirs[:12]}, expected {ids[:12]}"
        else:
            body = {"model": server.model, "prompt": text, "max_tokens": 1, "temperature": 0}
            answer = await client.post("v1/completions", body)
            usage = answer.get("usage") if isinstance(answer, dict) else None
            count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
            same, found = count in (None, len(ids)), f"{count} tokens, expected {len(ids)}"
        if not same:
            raise ModelError(
                f"model {server.model}: the server {client.address} tokenises {text!r} as {found}; "
                "the same text would become other tokens, and the comparison would no longer be of the weights alone.",
                "Serve the model with the baseline's tokenizer files, or set `tokenizer:` to a folder or hub name "
                "with the served model's own.",
            )


@dataclass(frozen=True)
class Scored:
    """Token ids of a prompt and a continuation together; those from `start` on are scored."""

    ids: tuple[int, ...]
    start: int


def border(text: str, context: str) -> tuple[str, str]:
    """Return context and joined text, white space at the end of the context moved to the continuation."""
    stripped = context.rstrip()
    return stripped, stripped + context[len(stripped) :] + text


async def scored(
    tokens: Tokens, request: LoglikelihoodRequest, max_length: int | None
) -> tuple[list[Scored], int]:
    """Return a request's continuations as ids, and how many had to be cut on the left.

    The rules are those of `gate.engines.tokens.requests.scoring_rows`, which the other engine follows.

    Raises
    ------
    EvaluationError
        A continuation without tokens, or longer than the model reads; an empty context and no BOS known.
    """
    pairs = [border(continuation, request.context) for continuation in request.continuations]
    context = pairs[0][0] if pairs else ""
    contexts = await tokens.encode([context]) if context else [[]]
    rows = []
    cut = 0
    for ids in await tokens.encode([text for _, text in pairs]):
        start = min(len(contexts[0]), len(ids) - 1) if context else 0
        if start < 1:
            prefix = await tokens.beginning()
            if prefix is not None and (not ids or ids[0] != prefix):
                ids = [prefix, *ids]
            start = 1
        count = len(ids) - start
        if count < 1:
            raise EvaluationError(
                f"a continuation after {context[-40:]!r} has no token that could be scored."
            )
        if max_length is not None:
            # the server also makes a token, and counts it
            if count >= max_length:
                raise EvaluationError(
                    f"a continuation has {count} tokens; the server reads at most {max_length}.",
                    "Shorten the choices, or serve the model with a longer context.",
                )
            if len(ids) >= max_length:
                cut += 1
                ids = ids[-(max_length - 1) :]
        rows.append(Scored(tuple(ids), len(ids) - count))
    return rows, cut


async def windows(tokens: Tokens, request: RollingRequest, max_length: int | None) -> list[Scored]:
    """Cut a whole text into windows that score every token once, as LM Evaluation Harness does it.

    The first token is scored after BOS (or EOS). The last window is as long as the others, so that its tokens see
    as much as there is room for.

    Raises
    ------
    EvaluationError
        No BOS is known.
    """
    ids = (await tokens.encode([request.text], special=False))[0]
    prefix = await tokens.beginning()
    if prefix is None:
        raise EvaluationError(
            "the server does not tell which token texts begin with, so that the first token cannot be scored.",
            "Set `tokenizer:` to a folder or hub name with the served model's tokenizer.",
        )
    whole = [prefix, *ids]
    # a prompt of size + 1 tokens, and the one that the server makes
    size = len(whole) if max_length is None else max(1, max_length - 2)
    found = []
    for done in range(1, len(whole), size):
        end = min(done + size, len(whole))
        begin = max(0, end - size - 1)
        found.append(Scored(tuple(whole[begin:end]), done - begin))
    return found
