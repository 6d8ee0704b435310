"""KL divergence from a server's answers: exact at the stored ids where it returns them, else a lower bound."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gate.engines.hf.model.distribution import Place, distributions
from gate.engines.openai.partial import divergence
from gate.engines.openai.wire import Likely
from gate.tasks.requests import Distribution, Divergence


def random_logprobs(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.log_softmax(3 * torch.randn(1, 500, generator=generator), dim=1)


def stored(logprobs: torch.Tensor, top: int, drawn: int) -> Distribution:
    (one,) = distributions(logprobs, [Place("prompt", top, drawn)])
    assert isinstance(one, Distribution)
    return one


def listed(logprobs: torch.Tensor, ids: list[int]) -> list[Likely]:
    """Return what a server answers: some tokens, likeliest first, and always the likeliest one."""
    tokens = dict.fromkeys([*ids, int(logprobs.argmax())])
    return sorted((Likely("", token, float(logprobs[0, token])) for token in tokens), key=lambda one: -one.logprob)


@pytest.mark.parametrize("seed", range(5))
def test_a_server_that_returns_the_stored_ids_gives_the_engines_estimate(seed: int) -> None:
    p, q = random_logprobs(seed), random_logprobs(seed + 100)
    reference = stored(p, 32, 8)
    (ours,) = distributions(q, [Place("prompt", 0, reference=reference)])
    theirs = divergence(reference, listed(q, list(reference.ids)))
    assert isinstance(ours, Divergence)
    assert theirs is not None
    assert theirs.kl == pytest.approx(ours.kl, rel=1e-5)
    assert theirs.variance == pytest.approx(ours.variance, rel=1e-4)
    assert theirs.same_top == ours.same_top


@pytest.mark.parametrize("kept", [1, 8, 24, 32])
def test_a_shorter_list_gives_a_lower_bound_named_so(kept: int) -> None:
    p, q = random_logprobs(1), random_logprobs(2)
    exact = float((p.exp() * (p - q)).sum())
    result = divergence(stored(p, 32, 8), listed(q, q[0].topk(kept).indices.tolist()))
    assert result is not None
    assert result.variance is None
    assert -1e-6 <= result.kl <= exact + 1e-3


def test_a_reference_without_drawn_tokens_gives_a_lower_bound_even_if_all_ids_are_known() -> None:
    p, q = random_logprobs(3), random_logprobs(4)
    reference = stored(p, 32, 0)
    result = divergence(reference, listed(q, list(reference.ids)))
    assert result is not None
    assert result.variance is None
    assert np.isfinite(result.kl)


def test_tokens_without_ids_give_nothing() -> None:
    assert divergence(stored(random_logprobs(5), 4, 2), [Likely("a", None, -0.1)]) is None
