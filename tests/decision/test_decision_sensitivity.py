"""What a run could have detected: for every kind of score, with margins too; what a margin makes impossible."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from decision.test_decision_policy import counted, judged, scored

from gate.config import DecisionSettings
from gate.decision import Decision
from gate.decision.decide import run_tests
from gate.stats import detectable_drop


def clusters_of(size: int, items: int) -> list[str]:
    return [f"c{n // size}" for n in range(items)]


def test_one_task_has_the_exact_detectable_drop_on_top_of_its_flips() -> None:
    decision = judged(counted("one", 10, 10, 1000))
    assert decision.sensitivity.detectable_drop == decision.tasks[0].detectable_drop
    assert decision.sensitivity.detectable_drop == pytest.approx(detectable_drop(1000, 0.02), rel=1e-6)
    assert decision.sensitivity.detectable_drop == pytest.approx(0.0153, abs=1e-4)


def test_few_flips_count_as_ten() -> None:
    decision = judged(counted("one", 1, 0, 1000))
    assert decision.sensitivity.detectable_drop == pytest.approx(0.0122, abs=1e-4)


@pytest.mark.parametrize("rule", ["omnibus", "pooled", "max", "fisher", "holm"])
@pytest.mark.parametrize("margin", [0.0, 0.01])
def test_every_kind_of_suite_has_a_detectable_drop(rule: str, margin: float) -> None:
    rng = np.random.default_rng(2)
    half = rng.choice([0.25, -0.25, 0.0], 600, p=[0.1, 0.1, 0.8])
    graded = scored("graded", [0.5] * 600, (0.5 - half).tolist())
    flips = [1.0, 0.0] * 300
    clustered = scored("passages", flips, [*[0.0] * 20, *flips[20:]], clusters_of(4, 600))
    decision = judged(counted("binary", 15, 15, 600), graded, clustered, rule=rule, margin=margin)
    drops = [task.detectable_drop for task in decision.tasks]
    assert all(drop is not None and margin < drop < 0.2 for drop in drops)
    joint = decision.sensitivity.detectable_drop
    assert joint is not None
    assert margin < joint < max(drop or 0.0 for drop in drops) * 1.3


def test_a_margin_moves_the_detectable_drop_up() -> None:
    plain, tolerant = (judged(counted("one", 15, 15, 2000), margin=margin) for margin in (0.0, 0.01))
    assert plain.sensitivity.detectable_drop is not None
    assert tolerant.sensitivity.detectable_drop is not None
    assert tolerant.sensitivity.detectable_drop > plain.sensitivity.detectable_drop + 0.008


def test_the_detectable_drop_at_a_margin_is_detected_with_about_the_stated_power() -> None:
    """The plan uses the score test, the decision the exact test; 60 simulated runs: three standard errors are .15."""
    drop = judged(counted("one", 25, 25, 1000), margin=0.01).sensitivity.detectable_drop
    assert drop is not None
    rng = np.random.default_rng(0)
    settings = DecisionSettings(margin=0.01)
    fails = 0
    for _ in range(60):
        b, c, _ = rng.multinomial(1000, [0.025 + drop, 0.025, 0.95 - drop])
        fails += run_tests([counted("one", int(b), int(c), 1000)], settings, seed=0).p_value <= settings.alpha
    assert fails / 60 == pytest.approx(0.8, abs=0.15)


def test_too_few_items_have_no_detectable_drop() -> None:
    assert judged(counted("one", 1, 1, 12)).sensitivity.detectable_drop is None


def blind(decision: Decision) -> list[str]:
    return decision.sensitivity.blind_tasks


def test_a_task_that_cannot_reject_at_its_margin_is_blind() -> None:
    """Seven flips could reject a drop of 0, but never a drop of three points of 300 items: these are nine items."""
    pairs: list[Any] = [counted("few", 2, 5, 300), counted("many", 40, 38, 300)]
    assert blind(judged(*pairs)) == []
    assert blind(judged(*pairs, margin=0.03)) == ["few"]


def test_graded_scores_that_cannot_reject_at_the_margin_are_blind() -> None:
    task = scored("graded", [0.75] * 8 + [0.5] * 92, [0.5] * 4 + [1.0] * 4 + [0.5] * 92)
    assert blind(judged(task)) == []
    assert blind(judged(task, margin=0.05)) == ["graded"]


def needed(b: int, c: int, n: int, certify: float) -> int | None:
    certification = judged(counted("one", b, c, n), certify=certify).certification
    assert certification is not None
    assert not certification.certified
    return certification.items_needed


def test_no_number_of_items_certifies_a_drop_that_is_not_below_the_bound() -> None:
    assert needed(30, 20, 1000, 0.01) is None
    assert needed(40, 20, 1000, 0.02) is None


def test_the_needed_items_exceed_those_that_did_not_suffice() -> None:
    """2,000 items with a drop just below the bound: with a true drop of 0, 1,546 should have done, so none is named."""
    assert needed(119, 81, 2000, 0.02) is None
    assert needed(10, 10, 200, 0.02) == 1546
