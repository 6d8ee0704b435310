"""Whether a server's echoed log-probabilities are those of the tokens beside which they stand.

The server generates a few tokens, with their log-probabilities; then the same text is put in as a prompt and its echo
must give the same tokens the same log-probabilities. Servers are known that echo those of the next position, which
would score every choice by the wrong word. Tokens are drawn at temperature 1, since a small model that goes on with the
likeliest may repeat one word, where a shift does not show.
"""

from __future__ import annotations

from dataclasses import dataclass

from gate.engines.openai.client import RefusedError
from gate.engines.openai.echo import Completions
from gate.engines.openai.wire import Position
from gate.errors import EvaluationError

PROMPTS = (
    "The capital of France is",
    "Once upon a time there was a",
    "My favourite dish is",
    "In 1969, people first",
    "To boil an egg,",
)
_LENGTH = 12  # tokens generated a prompt
_ENOUGH = 20  # tokens compared
_FEWEST = 4  # of them at places where a shift would show
_TOLERANCE = (
    0.25  # nats, mean over the tokens: a prompt and a generation are computed in other orders, in 8 bits too
)


@dataclass(frozen=True)
class Alignment:
    """What the probe found.

    Attributes
    ----------
    tokens : int
        How many were compared; 0 where the server echoes no log-probabilities.
    difference : float
        Mean absolute difference (nats) of echoed and generated log-probabilities.
    shifted : float
        Share of the tokens whose echoed list of likeliest tokens is that of the next position (proportion), of those
        where that would show.
    """

    tokens: int
    difference: float
    shifted: float


async def align(completions: Completions) -> Alignment:
    """Compare echo and generation on fixed prompts, in the form (ids or text) of `completions`.

    Raises
    ------
    EvaluationError
        The server echoes, but no text could be compared.
    """
    pairs: list[tuple[Position, Position]] = []
    following: list[bool] = []
    for text in PROMPTS:
        prompt = await completions.prompt(text)
        answer = await completions.ask(prompt, max_tokens=_LENGTH, logprobs=1)
        made = answer.choices[0].positions
        ids = [one.token.id for one in made if one.token is not None and one.token.id is not None]
        if isinstance(prompt, list) and len(ids) == len(made):
            whole: list[int] | str = prompt + ids
        else:
            whole = await completions.prompt(text + answer.choices[0].text)
        try:
            echoed = await completions.echo(whole, attempts=2)
        except RefusedError:
            return Alignment(0, 0.0, 0.0)  # refuses `echo` outright
        if not echoed:
            return Alignment(0, 0.0, 0.0)
        # the token that ends a text is made, and is no part of the text
        tail = echoed[await _size(completions, prompt) :]
        same = [a.text == b.text for a, b in zip(made, tail, strict=False)]
        if not same or not all(same):
            continue  # the text is not tokenised as it was generated
        pairs += zip(made, tail, strict=False)
        following += [
            _best(here) == _best(after)
            for here, before, after in zip(tail, made, made[1:], strict=False)
            if _best(before) != _best(after)  # elsewhere a shift does not show
        ]
        if len(pairs) >= _ENOUGH:
            break
    known = [(a.token.logprob, b.token.logprob) for a, b in pairs if a.token and b.token]
    if len(following) < _FEWEST:
        raise EvaluationError(
            "the server echoes log-probabilities, but they cannot be checked: of the texts that it generated itself, "
            f"{len(known)} tokens come back as they were, {len(following)} of them where a shift would show.",
            "Set `tokenizer:` to a folder or hub name with the served model's tokenizer.",
        )
    difference = sum(abs(a - b) for a, b in known) / len(known)
    return Alignment(len(known), difference, sum(following) / len(following))


def _best(position: Position) -> str:
    return position.top[0].text if position.top else ""


async def _size(completions: Completions, prompt: list[int] | str) -> int:
    """Return how many tokens a prompt has."""
    return len(prompt) if isinstance(prompt, list) else len(await completions.echo(prompt, attempts=2))


def refuse_misaligned(found: Alignment, address: str) -> None:
    """Refuse a server whose echo is not of the tokens beside which it stands.

    Raises
    ------
    EvaluationError
    """
    if found.tokens and found.difference > _TOLERANCE:
        shift = (
            "they are shifted by one token: each token gets the probability that the next position gives it"
            if found.shifted > 0.5
            else "they are of something else"
        )
        raise EvaluationError(
            f"the server {address} echoes log-probabilities that are not those of the prompt's tokens: {shift}. "
            f"Over {found.tokens} tokens that it generated itself, they differ by {found.difference:.2f} nats a token "
            f"on average from what it said while generating (expected at most {_TOLERANCE:g}).",
            "Choices cannot be scored on it (llama-cpp-python is known for this): serve the model with llama.cpp's own "
            "server, vLLM or SGLang, or use generate_until tasks.",
        )
