"""A check that a server's echoed log-probabilities belong to the tokens beside them.

The server generates a few tokens with their log-probabilities. The same text is then sent as a prompt, and its echo
must give the same tokens the same log-probabilities. Some servers echo the log-probabilities of the next position,
which would score every choice by the wrong token. Tokens are drawn at temperature 1, because greedy text of a small
model may repeat one word, which hides a shift.
"""

from __future__ import annotations

from typing import Any, Protocol

from gate.engines.openai.client import RefusedError
from gate.engines.openai.wire import Position
from gate.errors import EvaluationError

PROMPTS = (
    "The capital of France is",
    "Once upon a time there was a",
    "My favourite dish is",
    "In 1969, people first",
    "To boil an egg,",
)
_LENGTH = 12  # tokens generated per prompt
_ENOUGH = 20  # tokens to compare
_MIN_INFORMATIVE = 4  # of them, tokens for which a shift would be visible
# nats, mean over the tokens: prefill and decode sum in different orders, and 8-bit formats amplify that
_TOLERANCE = 0.25


class Echoing(Protocol):
    """A route that generates and echoes, for prompts in its own form: text or token ids."""

    async def prompt(self, text: str) -> Any:
        """Return a text in the form in which prompts are sent."""

    async def generated(self, prompt: Any, length: int) -> tuple[list[Position], str]:
        """Return the tokens that the server generates at temperature 1, and their text."""

    async def echo(self, prompt: Any, attempts: int) -> list[Position]:
        """Return the prompt's tokens with their log-probabilities, or nothing if the server does not echo them."""


async def check_alignment(completions: Echoing, address: str) -> bool:
    """Check the server's echo for prompts in the form that `completions` sends.

    Returns
    -------
    bool
        False if the server does not echo log-probabilities.

    Raises
    ------
    EvaluationError
        The echo is wrong, or no generated text could be compared. The error names the server by `address`.
    """
    comparison = await _compare(completions)
    if comparison is None:
        return False
    pairs, shifts = comparison
    if len(shifts) < _MIN_INFORMATIVE:
        raise EvaluationError(
            f"the log-probabilities that {address} echoes cannot be verified: only {len(shifts)} echoed tokens can be "
            f"used for the check; expected at least {_MIN_INFORMATIVE}. The echo probably tokenises the text "
            "differently.",
            "Set `tokenizer:` to a folder or hub name with the served model's tokenizer.",
        )
    difference = sum(abs(generated - echoed) for generated, echoed in pairs) / len(pairs)
    if difference > _TOLERANCE:
        cause = "they belong to something else"
        if sum(shifts) > len(shifts) / 2:
            cause = "they are shifted by one token: each token gets the log-probability at the next position"
        raise EvaluationError(
            f"the server {address} echoes log-probabilities that are not those of the prompt's tokens: {cause}. "
            f"For {len(pairs)} tokens that it generated itself, echo and generation differ by "
            f"{difference:.2f} nats per token on average (expected at most {_TOLERANCE:g}).",
            "Choices cannot be scored on it (llama-cpp-python is known for this): serve the model with llama.cpp's own "
            "server, vLLM or SGLang, or use generate_until tasks.",
        )
    return True


async def _compare(completions: Echoing) -> tuple[list[tuple[float, float]], list[bool]] | None:
    """Compare echo and generation on fixed prompts; return None if the server does not echo.

    Returns each token's log-probability as generated and as echoed (nats), and, for each token with which a shift
    would be visible, whether the echo has the next position's likeliest token.
    """
    pairs: list[tuple[float, float]] = []
    shifts: list[bool] = []
    for text in PROMPTS:
        prompt = await completions.prompt(text)
        generated, text_after = await completions.generated(prompt, _LENGTH)
        ids = [each.token.id for each in generated if each.token is not None and each.token.id is not None]
        if isinstance(prompt, list) and len(ids) == len(generated):
            whole: list[int] | str = prompt + ids
        else:
            whole = await completions.prompt(text + text_after)
        try:
            echoed = await completions.echo(whole, attempts=2)
        except RefusedError:
            return None
        if not echoed:
            return None
        size = len(prompt) if isinstance(prompt, list) else len(await completions.echo(prompt, attempts=2))
        # `generated` can be longer: it includes the end-of-text token, which the text lacks
        tail = echoed[size:]
        same = [a.text == b.text for a, b in zip(generated, tail, strict=False)]
        if not same or not all(same):
            continue  # the text is tokenised differently from how it was generated
        tokens = [(a.token, b.token) for a, b in zip(generated, tail, strict=False)]
        pairs += [(a.logprob, b.logprob) for a, b in tokens if a and b]
        shifts += [
            _likeliest(here) == _likeliest(after)
            for here, before, after in zip(tail, generated, generated[1:], strict=False)
            if _likeliest(before) != _likeliest(after)  # otherwise a shift is invisible
        ]
        if len(pairs) >= _ENOUGH:
            break
    return pairs, shifts


def _likeliest(position: Position) -> str:
    return position.top[0].text if position.top else ""
