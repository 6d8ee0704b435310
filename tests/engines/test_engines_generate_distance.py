"""KL divergence of a generated text's first token: the same with every kind of batching as with scoring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.opened import open_model, silent
from support.writers import PAGED, STATIC, write_model

from gate.engines import Engine
from gate.tasks.requests import Distribution, GenerateRequest, LoglikelihoodRequest

CONTEXTS = ["the cat", "Q : What is big ?\nA :", "a", "one two three", "big big dog", "the cat"]
MODELS = {
    "paged": PAGED["llama"],
    "static": STATIC["bloom, alibi"],
    "static, batch size 1": STATIC["rwkv, recurrent, no mask"],
}


def first_distributions(engine: Engine, top: int = 20, **options: Any) -> list[Distribution]:
    requests = [GenerateRequest(context, ("e",), 6, top=top, **options) for context in CONTEXTS]
    distributions = [answer.distribution for answer in engine.generate_until(requests, silent)]
    assert None not in distributions
    return [distribution for distribution in distributions if distribution is not None]


@pytest.mark.parametrize("name", MODELS)
def test_the_first_token_has_the_same_distribution_as_with_scoring(tiny_model: Path, tmp_path: Path, name: str) -> None:
    engine = open_model(write_model(tiny_model, tmp_path, *MODELS[name]), {"max_batch_tokens": 60})
    scored = engine.loglikelihood([LoglikelihoodRequest(c, (" a",), top=20) for c in CONTEXTS], silent)
    for distribution, answer in zip(first_distributions(engine), scored, strict=True):
        assert answer.distribution is not None
        assert distribution.tokens == answer.distribution.tokens
        assert distribution.logprobs == pytest.approx(answer.distribution.logprobs, abs=2e-3)
        assert distribution.tail == pytest.approx(answer.distribution.tail, abs=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_the_divergence_is_0_from_the_same_model_and_as_with_scoring_from_another(
    tiny_model: Path, tmp_path: Path, name: str
) -> None:
    folder = write_model(tiny_model, tmp_path, *MODELS[name])
    engines: list[Any] = [open_model(folder) for _ in range(2)]
    for weight in engines[1]._loaded.model.parameters():
        weight.data *= 1.2
    references = first_distributions(engines[0])
    requests = [GenerateRequest(c, (), 3, reference=r) for c, r in zip(CONTEXTS, references, strict=True)]
    same, other = ([answer.divergence for answer in engine.generate_until(requests, silent)] for engine in engines)
    choices = [LoglikelihoodRequest(c, (" a",), reference=r) for c, r in zip(CONTEXTS, references, strict=True)]
    scored = [answer.divergence for answer in engines[1].loglikelihood(choices, silent)]
    assert all(d is not None and d.kl < 1e-3 and d.same_top for d in same)
    assert [d and d.kl for d in other] == pytest.approx([d and d.kl for d in scored], abs=1e-4)
    assert max(d.kl for d in other if d is not None) > 0.01


def test_empty_and_sampled_texts_have_a_first_distribution_too(tiny_model: Path) -> None:
    engine: Any = open_model(tiny_model)
    (first,) = {distribution.tokens[0] for distribution in first_distributions(engine)[:1]}
    assert first_distributions(engine, temperature=1.5, seed=3) == first_distributions(engine)
    object.__setattr__(engine._loaded, "end_tokens", (first,))
    (answer,) = engine.generate_until([GenerateRequest(CONTEXTS[0], (), 4, top=20)], silent)
    assert answer.tokens_out == 0
    assert answer.distribution == first_distributions(engine)[0]


def test_nothing_is_measured_unless_requested(tiny_model: Path) -> None:
    (answer,) = open_model(tiny_model).generate_until([GenerateRequest("the cat", (), 2)], silent)
    assert (answer.distribution, answer.divergence) == (None, None)


def test_requests_of_different_kinds_may_be_mixed(tiny_model: Path) -> None:
    engine = open_model(tiny_model)
    (reference, *_) = first_distributions(engine)
    requests = [
        GenerateRequest("the cat", (), 2, top=5),
        GenerateRequest("the cat", (), 2),
        GenerateRequest("the cat", (), 2, reference=reference),
        GenerateRequest("a", (), 2, top=7),
    ]
    answers = engine.generate_until(requests, silent)
    assert [a.distribution and len(a.distribution.tokens) for a in answers] == [5, None, None, 7]
    assert [a.divergence is not None for a in answers] == [False, False, True, False]
