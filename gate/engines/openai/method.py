"""Choose a scoring method, by probing what the server supports."""

from __future__ import annotations

from enum import Enum

from gate.engines.openai.client import Client
from gate.engines.openai.completions import Completions
from gate.engines.openai.echo import EchoScorer
from gate.engines.openai.llamacpp import LlamaCppScorer
from gate.engines.openai.probe import PROMPTS, check_alignment
from gate.engines.openai.scoring import Scorer
from gate.engines.openai.server import Server
from gate.engines.openai.tokens import TokenSource
from gate.engines.openai.toplist import TopListScorer
from gate.errors import EvaluationError

_TOLERANCE = 0.05  # nats, between a token's log-probability as listed and as forced, at the same position


class Method(Enum):
    """A way of scoring; the value is recorded in the runtime."""

    FORCED = "token by token, each forced by a bias"
    IDS = "echo of token ids"
    TEXT = "echo of texts"
    LIST = "list of likely next tokens"


async def find_method(client: Client, server: Server, tokens: TokenSource | None) -> Method:
    """Return the best scoring method that the server supports.

    Raises
    ------
    EvaluationError
        It supports none, or its log-probabilities are wrong.
    """
    if server.kind == "llama.cpp" and tokens is not None:
        listed, forced = await LlamaCppScorer(client, server, tokens, 1).forced_logprob(PROMPTS[0])
        if not abs(listed - forced) <= _TOLERANCE:
            raise EvaluationError(
                f"the server {client.address} reports {forced:.3f} nats for a token that a bias forces, but "
                f"{listed:.3f} for the same token in a list: its log-probabilities are not the model's own.",
                "Use a build of llama.cpp that does not sample on the GPU.",
            )
        return Method.FORCED
    as_ids, as_text = Completions(client, server, tokens), Completions(client, server, None)
    if tokens is not None and await as_ids.accepted() and await check_alignment(as_ids, client.address):
        return Method.IDS
    if await check_alignment(as_text, client.address):
        return Method.TEXT
    top, _ = await as_text.likeliest(PROMPTS[0], 5)
    if top:
        return Method.LIST
    raise EvaluationError(
        f"the server {client.address} returns neither log-probabilities of prompts (`echo`) nor lists of likely next "
        "tokens, so choices cannot be scored.",
        "Serve the model with vLLM, SGLang or llama.cpp's own server, or use generate_until tasks.",
    )


def make_scorer(method: Method, client: Client, server: Server, tokens: TokenSource | None, concurrency: int) -> Scorer:
    """Return the scorer of a method that `find_method` returned."""
    if method is Method.FORCED and tokens is not None:
        return LlamaCppScorer(client, server, tokens, concurrency)
    completions = Completions(client, server, tokens if method is Method.IDS else None)
    if method is Method.LIST:
        return TopListScorer(completions, concurrency)
    return EchoScorer(completions, concurrency, server.max_input)
