"""Distributions at positions of an answer: what is stored of them, and their divergence from stored ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gate.engines.hf.model.load import to_device
from gate.engines.tokens.divergences import divergences
from gate.errors import EvaluationError
from gate.tasks.positions import text_seed
from gate.tasks.requests import Distribution, Divergence, GenerateRequest

_Results = Callable[[], Sequence[Distribution | Divergence]]


@dataclass(frozen=True)
class Place:
    """A position of an answer whose distribution is needed.

    Attributes
    ----------
    prompt : str
        The text that the answer follows: the seed of the draws.
    top, drawn : int
        Numbers of tokens that are stored.
    position : int
        Number of the answer's tokens before it.
    reference : Distribution or None
        If set, the divergence from it is needed instead.
    """

    prompt: str
    top: int
    drawn: int = 0
    position: int = 0
    reference: Distribution | None = None

    @classmethod
    def first(cls, request: GenerateRequest) -> Place:
        """Return the position of the first token of a text."""
        return cls(request.context, request.top, request.drawn, 0, request.reference)


def likeliest(values: torch.Tensor) -> torch.Tensor:
    """Return the index of each row's largest float32 value, the first one on a tie; of a NaN if the row has one."""
    if values.device.type == "cpu":
        return torch.from_numpy(values.numpy().argmax(axis=1))  # several times as fast as torch's
    return values.argmax(dim=1)


def queue_distributions(
    logprobs: torch.Tensor, places: Sequence[Place]
) -> Callable[[], list[Distribution | Divergence]]:
    """Queue what each row's place needs: the divergence from its reference, or else what is stored of its distribution.

    Parameters
    ----------
    logprobs : float32 tensor of shape (rows, vocabulary)
        Normalised, in nats.
    places : one per row

    Returns
    -------
    callable
        Gives the results in the order of the rows, once the device has finished the queued work.

    Raises
    ------
    EvaluationError
        A reference contains a token that is not in the model's vocabulary.
    """
    groups: dict[tuple[bool, int, int], list[int]] = {}  # rows by kind and by number of tokens
    for row, place in enumerate(places):
        reference = place.reference
        key = (False, place.top, place.drawn)
        if reference is not None:
            key = (True, len(reference.tokens), len(reference.drawn))
        groups.setdefault(key, []).append(row)
    queued: list[tuple[list[int], _Results]] = []
    for (compared, top, drawn), rows in groups.items():
        chosen = logprobs if len(groups) == 1 else logprobs[to_device(rows, logprobs.device)]
        own = [places[row] for row in rows]
        queued.append((rows, _queue_divergences(chosen, own) if compared else _queue_stored(chosen, own, top, drawn)))

    def wait() -> list[Distribution | Divergence]:
        results = {row: value for rows, values in queued for row, value in zip(rows, values(), strict=True)}
        return [results[row] for row in range(len(places))]

    return wait


def distributions(logprobs: torch.Tensor, places: Sequence[Place]) -> list[Distribution | Divergence]:
    """Return what `queue_distributions` queues, after waiting for it."""
    wait = queue_distributions(logprobs, places)
    if logprobs.is_cuda:
        torch.cuda.current_stream(logprobs.device).synchronize()
    return wait()


def _queue_stored(logprobs: torch.Tensor, places: Sequence[Place], k: int, m: int) -> _Results:
    """Queue the k likeliest tokens of each row, and m tokens drawn from the others in proportion to their probability.

    With k >= vocabulary size the distribution is whole: it has no tail.
    """
    whole = k >= logprobs.shape[1]
    values, tokens = logprobs.topk(min(k, logprobs.shape[1]), dim=1)
    drawn = tokens[:, :0]
    if m and not whole:
        drawn = _draw(logprobs, tokens, to_device(_uniforms(places, m), logprobs.device))
    drawn_values = logprobs.gather(1, drawn)
    # rounded as they are stored; the tail is that of the rounded values, see `estimate_kl`
    values, drawn_values = values.half().float(), drawn_values.half().float()
    tails = (1.0 - values.exp().sum(dim=1)).clamp(min=0.0) * (not whole)
    results = [tensor.to("cpu", non_blocking=True) for tensor in (tokens, values, tails, drawn, drawn_values)]

    def wait() -> list[Distribution]:
        rows = zip(*(tensor.tolist() for tensor in results), places, strict=True)
        return [
            Distribution(tuple(ids), tuple(row), tail, tuple(others), tuple(their_values), place.position)
            for ids, row, tail, others, their_values, place in rows
        ]

    return wait


def _draw(logprobs: torch.Tensor, top: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """Return tokens outside of `top`, drawn by inverting the distribution function at uniform numbers in [0, 1)."""
    # in float64: a float32 sum loses the unlikely tokens, of which a tail has tens of thousands
    cumulative = logprobs.exp().scatter_(1, top, 0.0).cumsum(1, dtype=torch.float64)
    # below the total even after rounding; a token without probability is never drawn
    points = uniforms.clamp(max=1.0 - 1e-12) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, points, right=True).clamp_(max=logprobs.shape[1] - 1)


def _uniforms(places: Sequence[Place], m: int) -> np.ndarray:
    """Return m uniform numbers per place, which depend on its prompt and position only."""
    rows = []
    for place in places:
        generator = np.random.default_rng([text_seed(place.prompt), 0, place.position])
        rows.append(generator.random(m))
    return np.array(rows)


def _queue_divergences(logprobs: torch.Tensor, places: Sequence[Place]) -> _Results:
    """Queue each row's divergence from its reference; all references have the same numbers of tokens."""
    references = [place.reference for place in places if place.reference is not None]
    top, drawn = (np.array([getattr(each, name) for each in references]) for name in ("tokens", "drawn"))
    ids = np.concatenate([top, drawn.astype(top.dtype)], axis=1)
    if ids.max() >= logprobs.shape[1]:
        raise EvaluationError(
            f"the baseline's distribution contains token {ids.max()}, but the candidate's vocabulary "
            f"has {logprobs.shape[1]} tokens.",
            "Set distance.kl: false, or compare models with the same vocabulary.",
        )
    listed = logprobs.gather(1, to_device(ids, logprobs.device)).to("cpu", non_blocking=True)
    own = likeliest(logprobs).to("cpu", non_blocking=True)

    def wait() -> list[Divergence]:
        q = listed.double().numpy()
        same = (own.numpy() == top[:, 0]).tolist()
        return divergences(references, q[:, : top.shape[1]], q[:, top.shape[1] :], same)

    return wait
