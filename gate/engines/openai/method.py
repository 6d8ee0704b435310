"""Choose a scoring method, by probing what the server supports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gate.engines.openai.client import Client, RefusedError
from gate.engines.openai.completions import Completions
from gate.engines.openai.echo import EchoScorer, TextEchoScorer
from gate.engines.openai.given import GivenIds, GivenIdScorer, find_given_ids
from gate.engines.openai.llamacpp import LlamaCppScorer
from gate.engines.openai.probe import PROMPTS, check_alignment
from gate.engines.openai.scoring import Scorer
from gate.engines.openai.server import Server
from gate.engines.openai.sglang import Generate, SglangScorer
from gate.engines.openai.tokens import TokenSource
from gate.engines.openai.toplist import TopListScorer
from gate.errors import EvaluationError

_TOLERANCE = 0.05  # nats, between a token's log-probability as listed and as forced, at the same position


class Method(Enum):
    """A way of scoring; the value is recorded in the runtime."""

    FORCED = "token by token, each forced by a bias"
    GIVEN = "given token ids, or their echo; KL at the baseline's tokens"
    SGLANG = "SGLang's /generate; KL at the baseline's tokens"
    IDS = "echo of token ids"
    TEXT = "echo of texts"
    LIST = "list of likely next tokens"


@dataclass(frozen=True)
class Support:
    """What a server supports.

    Attributes
    ----------
    many : bool
        Whether it accepts many prompts of token ids per request.
    given : GivenIds or None
        Its support of given ids.
    """

    method: Method
    many: bool = False
    given: GivenIds | None = None

    @property
    def sends_ids(self) -> bool:
        """Whether prompts are sent as token ids."""
        return self.method not in (Method.TEXT, Method.LIST)


async def find_support(client: Client, server: Server, tokens: TokenSource | None) -> Support:
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
        return Support(Method.FORCED)
    if server.kind == "sglang" and tokens is not None:
        try:
            if await check_alignment(Generate(client, tokens), client.address):
                return Support(Method.SGLANG)
        except RefusedError:  # a proxy that passes OpenAI's routes only
            pass
    as_ids, as_text = Completions(client, server, tokens), Completions(client, server, None)
    if tokens is not None and await as_ids.accepted() and await check_alignment(as_ids, client.address):
        many = await as_ids.accepts_many(PROMPTS)
        given = await find_given_ids(client, as_ids, PROMPTS[0])
        return Support(Method.GIVEN if given else Method.IDS, many, given)
    if await check_alignment(as_text, client.address):
        return Support(Method.TEXT)
    top, _ = await as_text.likeliest(PROMPTS[0], 5)
    if top:
        return Support(Method.LIST)
    raise EvaluationError(
        f"the server {client.address} returns neither log-probabilities of prompts (`echo`) nor lists of likely next "
        "tokens, so choices cannot be scored.",
        "Serve the model with vLLM, SGLang or llama.cpp's own server, or use generate_until tasks.",
    )


def make_scorer(
    support: Support, client: Client, server: Server, tokens: TokenSource | None, concurrency: int
) -> Scorer:
    """Return the scorer for what `find_support` returned."""
    if tokens is not None and support.method is Method.FORCED:
        return LlamaCppScorer(client, server, tokens, concurrency)
    if tokens is not None and support.method is Method.SGLANG:
        return SglangScorer(Generate(client, tokens), tokens, concurrency, server.max_input)
    if tokens is not None and support.method in (Method.GIVEN, Method.IDS):
        completions = Completions(client, server, tokens, support.many)
        if support.given is not None:
            return GivenIdScorer(completions, tokens, concurrency, server.max_input, support.given)
        return EchoScorer(completions, tokens, concurrency, server.max_input)
    completions = Completions(client, server, None)
    if support.method is Method.LIST:
        return TopListScorer(completions, concurrency)
    return TextEchoScorer(completions, concurrency)
