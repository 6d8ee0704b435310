"""Compare packed, prefixed and batched scoring with plain scoring on a user's own model; for `gate doctor`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gate.engines.hf.scoring.scorer import Scorer
from gate.tasks.requests import LoglikelihoodAnswer, LoglikelihoodRequest

_TEXTS = (
    "The harbour was empty when the ferry came in, and nobody took the rope that the boy had thrown.",
    "To repot a plant, water it first, lift it out with its soil, and cut away the roots that are brown.",
    "Question: Which of these is a prime number? Answer: 91 is 7 times 13, so it must be 97.",
    "def area(width, height):\n    return width * height\n\nprint(area(3, 4))",
    "Dear Ms Okafor, thank you for your letter of 3 May; the parcel left our house on Tuesday.",
    "Der Zug nach Basel fährt heute von Gleis 7. Le train pour Lyon part du quai 12.",
    "In 1869 the canal was opened, and ships no longer had to sail around the Cape of Good Hope.",
    "She said that she had not seen the film, but that the book's last chapter had made her laugh aloud.",
)


@dataclass(frozen=True)
class SelfCheck:
    """How far the engine's scores are from those of one choice at a time.

    Attributes
    ----------
    method : str
        See `Method.name`.
    continuations : int
        Number of continuations compared.
    max_difference : float
        Largest absolute difference of a continuation's log-likelihood, in nats.
    same_top : float
        Share of contexts after which both have the same most likely next token (proportion).
    same_choice : float
        Share of contexts for which both have the same most likely continuation (proportion).
    """

    method: str
    continuations: int
    max_difference: float
    same_top: float
    same_choice: float


def self_check(scorer: Scorer) -> SelfCheck:
    """Compare the engine's scoring with scoring one continuation at a time, on second halves of texts.

    Each context is followed by the rest of its own text and of the next two, so that packed rows have branches. Half
    of the contexts start with the same long block, so that its keys and values are shared.
    """
    halves = [_halve(text) for text in _TEXTS]
    requests = []
    for block in ("", "\n\n".join(_TEXTS) + "\n\n"):
        for number, (context, _) in enumerate(halves):
            rests = tuple(halves[(number + step) % len(halves)][1] for step in range(3))
            requests.append(LoglikelihoodRequest(block + context, rests, top=1))
    answers = scorer.loglikelihood(requests, lambda _: None)
    plain_answers = scorer.one_at_a_time().loglikelihood(requests, lambda _: None)
    scores, plain = (np.array([a.loglikelihoods for a in results]) for results in (answers, plain_answers))
    top, plain_top = (np.array([_top(a) for a in results]) for results in (answers, plain_answers))
    return SelfCheck(
        method=scorer.method.name,
        continuations=scores.size,
        max_difference=float(abs(scores - plain).max()),
        same_top=float((top == plain_top).mean()),
        same_choice=float((scores.argmax(axis=1) == plain.argmax(axis=1)).mean()),
    )


def _halve(text: str) -> tuple[str, str]:
    words = text.split(" ")
    middle = len(words) // 2
    return " ".join(words[:middle]), " " + " ".join(words[middle:])


def _top(answer: LoglikelihoodAnswer) -> int | None:
    return None if answer.distribution is None else answer.distribution.tokens[0]
