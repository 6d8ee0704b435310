"""KL divergence where texts are generated: of the first token, by every way of writing the same as by scoring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.opened import open_model, silent
from support.writers import PAGED, STATIC, write_model

from gate.engines import Distribution, Engine, GenerateRequest, LoglikelihoodRequest

CONTEXTS = ["the cat", "Q : What is big ?\nA :", "a", "one two three", "big big dog", "the cat"]
WAYS = {
    "paged": PAGED["llama"],
    "static": STATIC["bloom, alibi"],
    "one at a time": STATIC["rwkv, recurrent, no mask"],
}


def stored(engine: Engine, top: int = 20, **options: Any) -> list[Distribution]:
    asked = [GenerateRequest(context, ("e",), 6, top=top, **options) for context in CONTEXTS]
    found = [answer.distribution for answer in engine.generate_until(asked, silent)]
    assert None not in found
    return [one for one in found if one is not None]


@pytest.mark.parametrize("way", WAYS)
def test_the_first_token_has_the_distribution_that_scoring_finds(
    tiny_model: Path, tmp_path: Path, way: str
) -> None:
    engine = open_model(write_model(tiny_model, tmp_path, *WAYS[way]), {"max_batch_tokens": 60})
    scored = engine.loglikelihood([LoglikelihoodRequest(c, (" a",), top=20) for c in CONTEXTS], silent)
    for one, answer in zip(stored(engine), scored, strict=True):
        assert answer.distribution is not None
        assert one.tokens == answer.distribution.tokens
        assert one.logprobs == pytest.approx(answer.distribution.logprobs, abs=2e-3)
        assert one.tail == pytest.approx(answer.distribution.tail, abs=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_divergence_is_none_from_oneself_and_that_of_scoring_from_another(
    tiny_model: Path, tmp_path: Path, way: str
) -> None:
    folder = write_model(tiny_model, tmp_path, *WAYS[way])
    engines: list[Any] = [open_model(folder) for _ in range(2)]
    for weight in engines[1]._loaded.model.parameters():
        weight.data *= 1.2
    references = stored(engines[0])
    asked = [GenerateRequest(c, (), 3, reference=one) for c, one in zip(CONTEXTS, references, strict=True)]
    same, other = (
        [answer.divergence for answer in engine.generate_until(asked, silent)] for engine in engines
    )
    choices = [
        LoglikelihoodRequest(c, (" a",), reference=one) for c, one in zip(CONTEXTS, references, strict=True)
    ]
    scored = [answer.divergence for answer in engines[1].loglikelihood(choices, silent)]
    assert all(one is not None and one.kl < 1e-3 and one.same_top for one in same)
    assert [one and one.kl for one in other] == pytest.approx([one and one.kl for one in scored], abs=1e-4)
    assert max(one.kl for one in other if one is not None) > 0.01


def test_a_text_that_ends_at_once_and_one_that_is_drawn_are_measured_like_others(tiny_model: Path) -> None:
    engine: Any = open_model(tiny_model)
    (first,) = {one.tokens[0] for one in stored(engine)[:1]}
    assert stored(engine, temperature=1.5, seed=3) == stored(engine)
    object.__setattr__(engine._loaded, "end_tokens", (first,))
    asked = GenerateRequest(CONTEXTS[0], (), 4, top=20)
    (answer,) = engine.generate_until([asked], silent)
    assert answer.tokens_out == 0
    assert answer.distribution == stored(engine)[0]


def test_nothing_is_measured_unasked(tiny_model: Path) -> None:
    (answer,) = open_model(tiny_model).generate_until([GenerateRequest("the cat", (), 2)], silent)
    assert (answer.distribution, answer.divergence) == (None, None)


def test_requests_of_different_kinds_may_be_mixed(tiny_model: Path) -> None:
    engine = open_model(tiny_model)
    (reference, *_) = stored(engine)
    asked = [
        GenerateRequest("the cat", (), 2, top=5),
        GenerateRequest("the cat", (), 2),
        GenerateRequest("the cat", (), 2, reference=reference),
        GenerateRequest("a", (), 2, top=7),
    ]
    answers = engine.generate_until(asked, silent)
    assert [one.distribution and len(one.distribution.tokens) for one in answers] == [5, None, None, 7]
    assert [one.divergence is not None for one in answers] == [False, False, True, False]
