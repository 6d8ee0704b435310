"""Where a served model's token ids come from: a tokenizer on this machine, or the server's /tokenize route."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self

from gate.engines.openai.client import Client, RefusedError
from gate.engines.openai.server import Server
from gate.engines.tokens.sequences import (
    ScoredSequence,
    rolling_texts,
    rolling_windows,
    scored_sequences,
    texts_to_encode,
)
from gate.engines.tokens.tokenizer import encode, prefix_token
from gate.errors import ModelError
from gate.tasks.requests import LoglikelihoodRequest, RollingRequest

_SAMPLES = (  # different tokenizers give different ids for at least one of these
    "The capital of France is Paris.",
    "  two  spaces,\n\nlines and 1234567 figures",
    "naïve café – 東京 🙂",
    "def f(x):\n\treturn x**2  # don't",
)


class TokenSource(Protocol):
    """Encodes texts."""

    prefix: int | None
    """See `gate.engines.tokens.tokenizer.prefix_token`."""

    async def encode(self, texts: Sequence[str], special: bool = True) -> list[list[int]]:
        """Return the token ids of each text; see `gate.engines.tokens.tokenizer.encode`."""


class LocalTokens:
    """A transformers tokenizer on this machine."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.prefix = prefix_token(tokenizer)

    async def encode(self, texts: Sequence[str], special: bool = True) -> list[list[int]]:
        """Return the token ids of each text."""
        return encode(self.tokenizer, texts, special=special)

    def without_bos(self, text: str) -> str:
        """Return a text for a server that takes no ids: without a leading BOS, if the server adds one itself."""
        bos = self.tokenizer.bos_token
        if not bos or not text.startswith(bos):
            return text
        first = self.tokenizer(["a"], add_special_tokens=True)["input_ids"][0][:1]
        return text.removeprefix(bos) if first == [self.tokenizer.bos_token_id] else text


class RemoteTokens:
    """The server's tokenizer, through its route /tokenize (vLLM, SGLang, llama.cpp). Create it with `open`."""

    def __init__(self, client: Client, server: Server) -> None:
        self._client, self._server = client, server
        self._special: list[int] = []
        self.prefix: int | None = None

    @classmethod
    async def open(cls, client: Client, server: Server) -> Self | None:
        """Return the server's tokenizer, or None if the server does not offer it."""
        source = cls(client, server)
        try:
            plain, whole = await source._request("a", False), await source._request("a", True)
            if whole[-len(plain) :] == plain:
                source._special = whole[: len(whole) - len(plain)]
            # llama.cpp names its BOS text even if the model's texts do not start with it
            start = source._special or (await source._request(server.bos, False) if server.bos else [])
        except RefusedError:
            return None
        source.prefix = start[0] if start else None
        return source

    async def encode(self, texts: Sequence[str], special: bool = True) -> list[list[int]]:
        """Return the token ids of each text."""
        encoded = []
        for text in texts:
            ids = await self._request(text, False)
            has_special = ids[: len(self._special)] == self._special
            encoded.append(ids if has_special or not special else self._special + ids)
        return encoded

    async def _request(self, text: str, special: bool) -> list[int]:
        if self._server.kind == "llama.cpp":
            body: dict[str, Any] = {"content": text, "add_special": special, "parse_special": True}
        else:
            body = {"model": self._server.model, "prompt": text, "add_special_tokens": special}
        reply = await self._client.request("tokenize", body)
        ids = reply.get("tokens") if isinstance(reply, dict) else None
        if not isinstance(ids, list) or not all(type(token) is int and 0 <= token < 2**31 for token in ids):
            raise RefusedError(200, f"the server {self._client.address} answers /tokenize without token ids.")
        return ids


async def as_sequences(
    tokens: TokenSource, requests: Sequence[LoglikelihoodRequest], max_length: int | None
) -> list[list[ScoredSequence]]:
    """Return log-likelihood requests as token ids; see `gate.engines.tokens.sequences.scored_sequences`."""
    texts = texts_to_encode(requests)
    encoded = dict(zip(texts, await tokens.encode(texts), strict=True))
    return [scored_sequences(request, encoded, tokens.prefix, max_length) for request in requests]


async def as_windows(
    tokens: TokenSource, requests: Sequence[RollingRequest], max_length: int | None
) -> list[list[ScoredSequence]]:
    """Return rolling requests as token ids; see `gate.engines.tokens.sequences.rolling_windows`."""
    texts = list(dict.fromkeys(text for request in requests for text in rolling_texts(request)))
    encoded = dict(zip(texts, await tokens.encode(texts, special=False), strict=True))
    return [rolling_windows(request, encoded, tokens.prefix, max_length) for request in requests]


async def check_same_tokenizer(client: Client, server: Server, local: LocalTokens) -> None:
    """Check that the tokenizer on this machine is the served model's.

    If the server has no route /tokenize, the token counts that it reports are compared.

    Raises
    ------
    ModelError
        The tokenizers differ; the message quotes the text.
    """
    remote = await RemoteTokens.open(client, server)
    for text, ids in zip(_SAMPLES, await local.encode(_SAMPLES), strict=True):
        if remote is not None:
            (remote_ids,) = await remote.encode([text])
            same, difference = remote_ids == ids, f"{remote_ids[:12]}, expected {ids[:12]}"
        else:
            body = {"model": server.model, "prompt": text, "max_tokens": 1, "temperature": 0}
            reply = await client.request("v1/completions", body)
            usage = reply.get("usage") if isinstance(reply, dict) else None
            count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
            same, difference = count in (None, len(ids)), f"{str(count)[:40]} tokens, expected {len(ids)}"
        if not same:
            raise ModelError(
                f"model {server.model}: the server {client.address} tokenises {text!r} as {difference}. "
                "With different tokens, the comparison would not be of the weights alone.",
                "Serve the model with the baseline's tokenizer files, or set `tokenizer:` to a folder or hub name "
                "with the served model's own.",
            )
