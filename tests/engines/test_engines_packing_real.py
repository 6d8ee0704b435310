"""Shared prefixes give the scores of one choice at a time, with real weights and questions in float32."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.opened import open_model, silent

from gate.engines.hf.engine import TransformersEngine
from gate.engines.hf.scoring.check import self_check
from gate.tasks.requests import LoglikelihoodRequest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def engine(smollm2: Path) -> TransformersEngine:
    opened = open_model(smollm2, dtype="float32")
    assert isinstance(opened, TransformersEngine)
    return opened


@pytest.fixture(scope="module")
def questions(shared_data: Path) -> list[tuple[str, tuple[str, ...], int]]:
    path = shared_data / "bigbench" / "step_inference.jsonl"
    if not path.is_file():
        pytest.skip(f"no questions at {path}")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:15]]
    return [(f"{row['question']}:", tuple(" " + choice for choice in row["choices"]), row["gold"]) for row in rows]


@pytest.mark.parametrize("shots", [0, pytest.param(5, marks=pytest.mark.exhaustive)])
def test_every_choice_has_the_score_of_a_pass_of_its_own_and_no_argmax_differs(
    engine: TransformersEngine, questions: list[tuple[str, tuple[str, ...], int]], shots: int
) -> None:
    block = "".join(f"{context}{choices[gold]}\n\n" for context, choices, gold in questions[:shots])
    requests = [
        LoglikelihoodRequest(block + context, choices, top=1) for context, choices, _ in questions[shots : shots + 3]
    ]
    assert engine.scorer.method.packed
    answers = engine.loglikelihood(requests, silent)
    plain = engine.scorer.one_at_a_time().loglikelihood(requests, silent)
    for answer, reference in zip(answers, plain, strict=True):
        assert answer.loglikelihoods == pytest.approx(reference.loglikelihoods, abs=1e-4)
        assert max(range(4), key=answer.loglikelihoods.__getitem__) == max(
            range(4), key=reference.loglikelihoods.__getitem__
        )
        assert answer.greedy == reference.greedy
        assert answer.distribution is not None
        assert reference.distribution is not None
        assert answer.distribution.tokens == reference.distribution.tokens


@pytest.mark.exhaustive
def test_the_self_check_agrees_on_real_weights(engine: TransformersEngine) -> None:
    report = self_check(engine.scorer)
    assert report.max_difference < 1e-3
    assert (report.same_top, report.same_choice) == (1.0, 1.0)
