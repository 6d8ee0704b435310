"""KL divergence of an answer's first token, from the stored top k and from the whole vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.opened import open_model, silent

from gate.engines.hf.model.distribution import Place, distributions
from gate.errors import EvaluationError
from gate.tasks.requests import LoglikelihoodRequest


def top_distributions(logprobs: torch.Tensor, k: int) -> list[Any]:
    return distributions(logprobs, [Place("", k)] * len(logprobs))


def divergences(logprobs: torch.Tensor, references: list[Any]) -> list[Any]:
    places = [Place("", 0, reference=reference) for reference in references]
    return distributions(logprobs, places)


def random_logprobs(seed: int, rows: int = 40, vocabulary: int = 1000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.log_softmax(3 * torch.randn(rows, vocabulary, generator=generator), dim=1)


def whole(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    return (p.exp() * (p - q)).sum(dim=1)


def test_with_the_whole_vocabulary_the_divergence_is_exact() -> None:
    p, q = random_logprobs(1), random_logprobs(2)
    kl = [divergence.kl for divergence in divergences(q, top_distributions(p, 1000))]
    assert kl == pytest.approx(whole(p, q).tolist(), rel=2e-3)


@pytest.mark.parametrize("k", [1, 16, 128])
def test_with_the_top_k_the_divergence_is_a_lower_bound(k: int) -> None:
    p, q = random_logprobs(3), random_logprobs(4)
    kl = torch.tensor([divergence.kl for divergence in divergences(q, top_distributions(p, k))])
    assert bool((kl <= whole(p, q) + 1e-3).all())
    assert bool((kl > 0).all())


def test_a_larger_k_never_makes_the_divergence_smaller() -> None:
    p, q = random_logprobs(5), random_logprobs(6)
    by_k = [
        torch.tensor([divergence.kl for divergence in divergences(q, top_distributions(p, k))]) for k in (4, 32, 256)
    ]
    assert bool((by_k[0] <= by_k[1] + 1e-3).all())
    assert bool((by_k[1] <= by_k[2] + 1e-3).all())


def test_the_divergence_of_a_model_from_itself_is_zero() -> None:
    p = random_logprobs(7)
    results = divergences(p, top_distributions(p, 128))
    assert max(divergence.kl for divergence in results) < 1e-3
    assert all(divergence.same_top for divergence in results)


def test_a_vocabulary_smaller_than_k_has_no_tail() -> None:
    (distribution,) = top_distributions(random_logprobs(8, rows=1, vocabulary=50), 128)
    assert len(distribution.tokens) == 50
    assert distribution.tail == pytest.approx(0.0, abs=2e-3)


def test_an_engine_returns_the_divergence_of_an_answers_first_token(tiny_model: Path, other_tiny_model: Path) -> None:
    texts = [
        ("the cat", (" sees", " eats the fish")),
        ("What colour is", (" red", " blue")),
        ("Q: the dog\nA:", (" a", " b")),
    ]
    first, second = open_model(tiny_model), open_model(other_tiny_model)
    stored = first.loglikelihood([LoglikelihoodRequest(c, a, top=128) for c, a in texts], silent)
    references = [answer.distribution for answer in stored]
    assert all(reference is not None and len(reference.tokens) == 128 for reference in references)

    requests = [
        LoglikelihoodRequest(context, choices, reference=reference)
        for (context, choices), reference in zip(texts, references, strict=True)
    ]
    same, other = (engine.loglikelihood(requests, silent) for engine in (first, second))
    assert all(answer.divergence is not None and answer.divergence.kl < 1e-3 for answer in same)
    assert all(answer.divergence is not None and answer.divergence.kl > 0.1 for answer in other)
    flat = [[value for answer in answers for value in answer.loglikelihoods] for answers in (same, stored)]
    assert flat[0] == pytest.approx(flat[1], abs=1e-4)


def test_a_whole_distribution_has_no_tail_and_gives_the_exact_divergence(
    tiny_model: Path, other_tiny_model: Path
) -> None:
    text, answers = "What colour is", (" red", " blue")
    engines = [open_model(folder) for folder in (tiny_model, other_tiny_model)]
    (stored,) = engines[0].loglikelihood([LoglikelihoodRequest(text, answers, top=10**6)], silent)
    assert stored.distribution is not None
    assert len(stored.distribution.tokens) == 384
    assert stored.distribution.tail == 0.0
    (compared,) = engines[1].loglikelihood(
        [LoglikelihoodRequest(text, answers, reference=stored.distribution)], lambda _: None
    )
    (second,) = engines[1].loglikelihood([LoglikelihoodRequest(text, answers, top=384)], silent)
    assert second.distribution is not None
    assert compared.divergence is not None
    p, q = (torch.zeros(384, dtype=torch.float64) for _ in range(2))
    for values, distribution in ((p, stored.distribution), (q, second.distribution)):
        values[list(distribution.tokens)] = torch.tensor(distribution.logprobs, dtype=torch.float64)
    assert compared.divergence.kl == pytest.approx(float((p.exp() * (p - q)).sum()), rel=5e-3)
    (same,) = engines[0].loglikelihood(
        [LoglikelihoodRequest(text, answers, reference=stored.distribution)], lambda _: None
    )
    assert same.divergence is not None
    assert same.divergence.kl < 1e-5


def test_requests_with_different_k_can_be_mixed(tiny_model: Path) -> None:
    engine = open_model(tiny_model)
    requests = [
        LoglikelihoodRequest(f"the {w}", (" a", " b c"), top=k) for w, k in zip("abcd", (0, 2, 5, 2), strict=True)
    ]
    answers = engine.loglikelihood(requests, silent)
    assert [answer.distribution and len(answer.distribution.tokens) for answer in answers] == [None, 2, 5, 2]


def test_a_reference_from_a_larger_vocabulary_is_an_error() -> None:
    reference = top_distributions(random_logprobs(1, rows=1, vocabulary=100), 100)
    with pytest.raises(EvaluationError, match="the candidate's vocabulary has 50 tokens"):
        divergences(random_logprobs(2, rows=1, vocabulary=50), reference)


def test_drawn_tokens_estimate_the_divergence_over_the_whole_vocabulary() -> None:
    p, q = random_logprobs(9, rows=300), random_logprobs(9, rows=300) + 0.1 * random_logprobs(10, rows=300)
    q = torch.log_softmax(q, dim=1)
    places = [Place(f"prompt {row}", 16, 16) for row in range(300)]
    stored = distributions(p, places)
    assert all(len(one.drawn) == 16 and not set(one.drawn) & set(one.tokens) for one in stored)
    assert distributions(p, places) == stored  # the draws depend on the prompt only
    results = divergences(q, stored)
    error = sum(one.variance for one in results) ** 0.5
    assert sum(one.kl for one in results) == pytest.approx(float(whole(p, q).sum()), abs=3 * error)
    assert error < 0.02 * float(whole(p, q).sum())
    bounds = divergences(q, top_distributions(p, 16))
    assert all(bound.variance is None for bound in bounds)
    assert sum(bound.kl for bound in bounds) < 0.8 * sum(one.kl for one in results)


def test_tokens_are_drawn_in_proportion_to_their_probability() -> None:
    """The share of each tail token among 40,000 draws is its share of the tail, within five standard errors."""
    logprobs = random_logprobs(11, rows=1, vocabulary=30).repeat(2000, 1)
    places = [Place(f"prompt {row}", 10, 20) for row in range(2000)]
    stored = distributions(logprobs, places)
    drawn = torch.tensor([token for one in stored for token in one.drawn])
    tail = logprobs[0].exp().scatter(0, torch.tensor(stored[0].tokens), 0.0)
    expected = tail / tail.sum()
    share = torch.bincount(drawn, minlength=30) / len(drawn)
    assert bool(((share - expected).abs() <= 5 * (expected / len(drawn)).sqrt() + 1e-9).all())
