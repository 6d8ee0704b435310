"""The policy of single tasks: their margins, proofs and limits, and the bounds that hold together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from test_decision_policy import counted, scored

from gate.config import DecisionSettings, TaskPolicy
from gate.decision import Decision, decide
from gate.decision.requirements import prove, simultaneous_bound
from gate.decision.rows import Judged, evidence_of
from gate.decision.run_sections import EarlyStopping
from gate.errors import ConfigError
from gate.samples import PairedTask
from gate.stats import recovery


def judged(*pairs: PairedTask, tasks: Mapping[str, dict[str, Any]], roles: Any = None, **settings: Any) -> Decision:
    policy = DecisionSettings(**{"draws": 10_000, **settings})
    return decide(pairs, policy, roles=roles, policies={name: TaskPolicy(**keys) for name, keys in tasks.items()})


def test_a_margin_of_one_task_tolerates_its_drop_only() -> None:
    pairs = [counted("one", 40, 10, 1000), counted("two", 20, 20, 1000)]
    assert judged(*pairs, tasks={}).verdict == "FAIL"
    assert judged(*pairs, tasks={"two": {"margin": 0.03}}).verdict == "FAIL"
    tolerant = judged(*pairs, tasks={"one": {"margin": 0.03}})
    assert tolerant.verdict == "PASS"
    assert [task.margin for task in tolerant.tasks] == [0.03, 0.0]
    assert tolerant.tasks[1].test == "exact McNemar"
    assert tolerant.reasons[0].startswith("No significant drop beyond the margin: p = ")


def test_margin_0_of_a_task_overrides_the_margin_of_the_decision() -> None:
    pair = counted("one", 40, 10, 1000)
    assert judged(pair, tasks={}, margin=0.03).verdict == "PASS"
    assert judged(pair, tasks={"one": {"margin": 0.0}}, margin=0.03).verdict == "FAIL"


def test_a_fail_at_different_margins_says_so_and_one_at_a_common_margin_names_it() -> None:
    pairs = [counted("one", 90, 10, 1000), counted("two", 20, 20, 1000)]
    reason = judged(*pairs, tasks={"one": {"margin": 0.02}}).reasons[0]
    assert reason.startswith(
        "The candidate is worse than the baseline by more than the margin of at least one task: p "
    )
    common = judged(*pairs, tasks={}, margin=0.02)
    assert common.reasons[0].startswith(
        "The candidate is worse than the baseline by more than 2 points on at least one"
    )


def test_each_proof_per_task_is_required_and_tested_at_alpha_without_correction() -> None:
    pairs = [counted("big", 20, 20, 2000), counted("small", 10, 10, 200)]
    both = judged(*pairs, tasks={"big": {"certify": 0.02}, "small": {"certify": 0.02}})
    alone = judged(pairs[1], tasks={}, certify=0.02)
    assert both.verdict == "INCONCLUSIVE"
    big, small = (task.certification for task in both.tasks)
    assert big is not None
    assert small is not None
    assert alone.certification is not None
    assert (big.certified, small.certified) == (True, False)
    assert small.p_value == alone.certification.p_value
    assert both.reasons[0].startswith(
        f"No significant drop (p = {both.p_value:.3g}, alpha = 0.05), but the data do not prove that the drop on small is "
    )
    assert both.reasons[1].startswith("Certified: the drop on big is below 2 points: proven (")
    assert judged(*pairs, tasks={"big": {"certify": 0.02}}).verdict == "PASS"


def test_the_proof_of_an_advisory_task_is_reported_and_does_not_decide() -> None:
    pairs = [counted("big", 20, 20, 2000), counted("small", 10, 10, 200)]
    decision = judged(*pairs, tasks={"small": {"certify": 0.02, "max_drop": 0.0}}, roles={"small": "advisory"})
    assert decision.verdict == "PASS"
    proof = decision.tasks[1].certification
    assert proof is not None
    assert not proof.certified


def test_proofs_per_task_keep_alpha_where_one_task_has_dropped_by_its_bound() -> None:
    """Intersection-union: two candidates' tasks at their bounds, one at a time and both; at most alpha are proven."""
    rng = np.random.default_rng(3)
    settings = DecisionSettings(alpha=0.1, certify=0.03)

    def proven(drop: float) -> bool:
        b, c = rng.multinomial(400, [0.03 + drop, 0.03, 0.94 - drop])[:2]
        pair = counted("one", int(b), int(c), 400)
        proof = prove([Judged(pair, "gating", evidence_of(pair, 0))], settings, stopped=False)
        return proof is not None and proof.certified

    for drops in (0.03, -0.02), (0.03, 0.03):
        passed = np.mean([all(proven(drop) for drop in drops) for _ in range(150)])
        assert passed <= 0.1 + 3 * (0.1 * 0.9 / 150) ** 0.5


@pytest.mark.parametrize(
    ("policy", "verdict", "sentence"),
    [
        ({"max_drop": 0.05}, "PASS", ""),
        ({"max_drop": 0.049}, "FAIL", "one: observed drop +5.00 points, limit 4.9 points."),
        ({"max_flip_rate": 0.25}, "PASS", ""),
        ({"max_flip_rate": 0.24}, "FAIL", "one: 25.00% of the answers flipped, limit 24.00%."),
        ({"min_recovery": 0.88}, "PASS", ""),
        ({"min_recovery": 0.91}, "FAIL", "one: observed recovery 90.38% (90% interval "),
    ],
)
def test_a_limit_is_compared_with_the_observed_value(policy: dict[str, float], verdict: str, sentence: str) -> None:
    decision = judged(counted("one", 15, 10, 100), tasks={"one": policy})
    assert decision.verdict == verdict
    (limit,) = decision.tasks[0].limits
    assert limit.exceeded == (verdict == "FAIL")
    if verdict == "FAIL":
        assert decision.reasons[0].endswith(
            "the candidate exceeds a limit. Limits are compared with observed values: chance alone can exceed them."
        )
        assert decision.reasons[1].startswith(sentence)


def test_recovery_has_the_interval_of_the_paired_ratio() -> None:
    pair = counted("one", 15, 10, 100)
    found = judged(pair, tasks={"one": {"min_recovery": 0.5}}).tasks[0].recovery
    assert found is not None
    expected = recovery(pair.baseline_score, pair.candidate_score)
    assert found.ratio == pytest.approx(expected.ratio)
    assert found.ci90 == (expected.ci.low, expected.ci.high)
    assert judged(pair, tasks={}).tasks[0].recovery is None


def test_recovery_of_scores_that_are_not_above_0_is_refused() -> None:
    pair = scored("loss", [-2.0, -3.0, -2.5, -1.0], [-2.1, -3.0, -2.6, -1.0])
    with pytest.raises(
        ConfigError, match=r"task loss: min_recovery needs a baseline .* above 0; it is -2\.125"
    ) as caught:
        judged(pair, tasks={"loss": {"min_recovery": 0.9}})
    assert "`scale: [low, high]`" in str(caught.value.hint)
    with pytest.raises(ConfigError, match=r"task zero: min_recovery needs a baseline .* above 0; it is 0\."):
        judged(scored("zero", [0.0] * 4, [0.0] * 4), tasks={"zero": {"min_recovery": 0.9}})


def test_a_kl_limit_of_a_task_without_kl_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_kl is set for task one, but KL divergence was not measured"):
        judged(counted("one", 3, 3, 100), tasks={"one": {"max_kl": 0.1}})


def test_simultaneous_bounds_are_wider_with_more_tasks_and_cover_all_drops_together() -> None:
    alone = judged(counted("one", 10, 10, 200), tasks={}).tasks[0].drop_bound
    pairs = [counted(name, 10, 10, 200) for name in ("one", "two", "three")]
    together = judged(*pairs, tasks={})
    assert alone is not None
    assert together.bound_confidence == 0.95
    assert all(task.drop_bound is not None and task.drop_bound > alone for task in together.tasks)
    rng = np.random.default_rng(4)

    def bound() -> float:
        b, c = rng.multinomial(200, [0.1, 0.06, 0.84])[:2]
        pair = counted("one", int(b), int(c), 200)
        return simultaneous_bound(Judged(pair, "gating", evidence_of(pair, 0)), DecisionSettings(), gating=3) or 0.0

    covered = np.mean([all(bound() >= 0.04 for _ in range(3)) for _ in range(60)])
    assert covered >= 0.95 - 3 * (0.95 * 0.05 / 60) ** 0.5


def test_an_early_stop_leaves_neither_proof_nor_bound() -> None:
    early = EarlyStopping(alpha=0.01, log_e_value=9.0, stopped=True, items=256, total=1000)
    settings = DecisionSettings(draws=1000, certify=0.5)
    decision = decide([counted("one", 12, 0, 256)], settings, early=early, policies={"one": TaskPolicy(certify=0.5)})
    assert decision.certification is not None
    assert not decision.certification.certified
    assert decision.tasks[0].certification is not None
    assert not decision.tasks[0].certification.certified
    assert decision.tasks[0].drop_bound is None
    assert len(decision.reasons) == 1
