"""The policy (rule, margin, certification, roles, limits) and the reasons given."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gate.config import DecisionSettings, DistanceSettings
from gate.decision import Decision, decide
from gate.decision.certify import certify
from gate.decision.rows import Judged, evidence_of
from gate.errors import ConfigError
from gate.importers.build import task_samples
from gate.samples import ModelSamples, PairedTask, pair
from gate.stats import mcnemar_exact, noninferiority
from tests.support.paired_tasks import counted, scored

POLICY = DecisionSettings(draws=10_000)


def judged(*pairs: PairedTask, roles: Any = None, flips: float | None = None, **settings: Any) -> Decision:
    policy = DecisionSettings(**{"draws": 10_000, **settings})
    return decide(pairs, policy, DistanceSettings(max_flip_rate=flips), roles)


def test_equal_answers_pass_with_p_1_and_the_blind_task_is_named() -> None:
    decision = judged(counted("still", 0, 0, 50))
    assert (decision.verdict, decision.exit_code, decision.p_value) == ("PASS", 0, 1.0)
    (task,) = decision.tasks
    assert (task.drop, task.flip_rate, task.p_exact, task.p_holm) == (0.0, 0.0, 1.0, 1.0)
    assert not task.can_reject
    assert decision.sensitivity.blind_tasks == ["still"]
    assert decision.sensitivity.detectable_drop is not None
    assert 0 < decision.sensitivity.detectable_drop < 1


def test_a_task_with_few_flips_is_blind_and_one_with_many_is_not() -> None:
    decision = judged(counted("few", 4, 0, 100), counted("many", 20, 15, 100))
    assert [task.can_reject for task in decision.tasks] == [False, True]
    assert decision.sensitivity.blind_tasks == ["few"]


def test_a_damaged_candidate_fails_and_the_reason_names_test_p_and_task() -> None:
    decision = judged(counted("broken", 30, 5, 200), counted("fine", 6, 6, 200))
    assert (decision.verdict, decision.exit_code) == ("FAIL", 1)
    (reason,) = decision.reasons
    assert "omnibus test" in reason
    assert "alpha = 0.05" in reason
    assert f"{decision.p_value:.3g}" in reason
    assert reason.endswith("Significant after adjustment for 2 tasks: broken.")


def test_improved_candidate_passes() -> None:
    decision = judged(counted("better", 0, 60, 200))
    assert decision.verdict == "PASS"
    assert decision.tasks[0].drop == pytest.approx(-0.3)
    assert decision.p_value == pytest.approx(1.0)


def test_small_drops_in_many_tasks_add_up() -> None:
    decision = judged(*(counted(f"t{n}", 14, 6, 100) for n in range(6)))
    assert decision.verdict == "FAIL"
    assert all(task.p_exact > 0.05 for task in decision.tasks)
    assert decision.reasons[0].endswith("The tests over all tasks do not single out a task.")


@pytest.mark.parametrize("rule", ["omnibus", "pooled", "max", "fisher", "holm"])
def test_each_rule_decides_by_its_own_p_and_all_are_reported(rule: str) -> None:
    pairs = [counted("one", 12, 4, 100), counted("two", 9, 8, 100)]
    decision = judged(*pairs, rule=rule)
    assert decision.rule == rule
    assert decision.p_value == getattr(decision.aggregate, rule).p
    values = [getattr(decision.aggregate, name).p for name in ("omnibus", "pooled", "max", "fisher", "holm")]
    assert len(set(values)) == 5
    assert decision.verdict == ("FAIL" if decision.p_value <= 0.05 else "PASS")


def test_rules_can_disagree_on_the_same_samples() -> None:
    pairs = [counted("one", 14, 3, 100), *(counted(f"t{n}", 10, 14, 100) for n in range(3))]
    assert judged(*pairs, rule="pooled").verdict == "PASS"
    assert judged(*pairs, rule="holm").verdict == "FAIL"


def test_p_equal_to_alpha_fails() -> None:
    pair_ = counted("one", 9, 2, 100)
    p = mcnemar_exact(9, 2).pvalue
    assert judged(pair_, rule="pooled", alpha=p).verdict == "FAIL"
    assert judged(pair_, rule="pooled", alpha=p * 0.999).verdict == "PASS"


def test_a_margin_tolerates_a_drop_below_it() -> None:
    task = counted("one", 40, 10, 1000)
    assert judged(task).verdict == "FAIL"
    assert judged(task, margin=0.015).verdict == "FAIL"
    tolerant = judged(task, margin=0.03)
    assert tolerant.verdict == "PASS"
    assert tolerant.tasks[0].test == "exact unconditional test at the margin"
    assert tolerant.tasks[0].p_mid is None
    assert "by more than 1.5 points" in judged(task, margin=0.015).reasons[0]


def test_candidate_with_enough_items_is_certified() -> None:
    decision = judged(counted("one", 20, 20, 2000), certify=0.02)
    certification = decision.certification
    assert (decision.verdict, decision.exit_code) == ("PASS", 0)
    assert certification is not None
    assert certification.certified
    assert certification.items_needed is None
    assert certification.p_value == pytest.approx(noninferiority(20, 20, 2000, 0.02).pvalue)
    assert "Certified: the mean drop over all 2,000 gating items is below 2 points" in decision.reasons[1]


@pytest.mark.parametrize(("policy", "code"), [("pass", 0), ("fail", 3)])
def test_too_few_items_to_certify_is_inconclusive_and_names_the_number_needed(policy: str, code: int) -> None:
    decision = judged(counted("one", 10, 10, 200), certify=0.02, on_inconclusive=policy)
    certification = decision.certification
    assert (decision.verdict, decision.exit_code) == ("INCONCLUSIVE", code)
    assert certification is not None
    assert not certification.certified
    # z(.95) + z(.8) = 2.4865; 10 % flips: .1 (2.4865 / .02)^2
    assert certification.items_needed == 1546
    assert decision.reasons[0].endswith(
        "If the true drop is zero and the flip rate stays as observed, about 1,500 items would prove it with 80% power."
    )
    assert f"{certification.p_value:.3g}" in decision.reasons[0]


def test_items_needed_certify_with_the_stated_power() -> None:
    needed = judged(counted("one", 10, 10, 200), certify=0.02).certification
    assert needed is not None
    assert needed.items_needed is not None
    rng = np.random.default_rng(0)
    n = needed.items_needed
    flips = rng.binomial(n, 0.1, 400)
    b = rng.binomial(flips, 0.5)
    certified = [noninferiority(int(x), int(m - x), n, 0.02).pvalue <= 0.05 for x, m in zip(b, flips, strict=True)]
    assert 0.76 < np.mean(certified) < 0.85


def test_fail_takes_precedence_over_inconclusive() -> None:
    decision = judged(counted("one", 30, 5, 200), certify=0.02, on_inconclusive="fail")
    assert (decision.verdict, decision.exit_code) == ("FAIL", 1)


def test_certification_of_clusters_of_one_item_is_close_to_the_exact_test_and_more_cautious() -> None:
    pair_ = counted("one", 30, 30, 1500)
    own = scored("one", pair_.baseline_score.tolist(), pair_.candidate_score.tolist(), [str(n) for n in range(1500)])
    by_counts, by_differences = (judged(task, certify=0.01).certification for task in (pair_, own))
    assert by_counts is not None
    assert by_differences is not None
    assert by_counts.p_value <= by_differences.p_value <= 1.4 * by_counts.p_value


def test_certification_of_graded_scores_keeps_alpha_at_the_bound() -> None:
    """400 candidates exactly 2 points worse in the mean: about alpha of them are certified at 2 points."""
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(400):
        differences = rng.choice([-0.5, 0.0, 0.5], 400, p=[0.08, 0.80, 0.12])
        task = scored("graded", [0.5] * 400, (0.5 - differences).tolist())
        certification = certify([Judged(task, "gating", evidence_of(task, 0))], DecisionSettings(certify=0.02))
        assert certification is not None
        wrong += certification.certified
    assert 0.01 < wrong / 400 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_run_without_flips_certifies_neither_clusters_nor_items() -> None:
    rows = [1.0] * 30
    clustered = judged(scored("one", rows, rows, [str(n // 2) for n in range(30)]), certify=0.001)
    alone = judged(scored("one", rows, rows), certify=0.001)
    assert clustered.verdict == alone.verdict == "INCONCLUSIVE"
    (task,) = clustered.tasks
    assert task.drop_ci90[0] < 0 < task.drop_ci90[1]
    assert task.detectable_drop is None, "15 clusters, of which ten are assumed to flip by noise"


def test_binary_and_graded_tasks_are_certified_together() -> None:
    mixed = judged(scored("graded", [0.5, 1.0] * 400, [0.5, 0.99] * 400), counted("one", 10, 10, 800), certify=0.03)
    assert mixed.certification is not None
    assert mixed.certification.certified


def test_advisory_task_is_reported_and_never_decides() -> None:
    pairs = [counted("watched", 50, 0, 100), counted("judge", 5, 5, 100)]
    assert judged(*pairs).verdict == "FAIL"
    decision = judged(*pairs, roles={"watched": "advisory"})
    assert decision.verdict == "PASS"
    watched, judge = decision.tasks
    assert (watched.role, judge.role) == ("advisory", "gating")
    assert watched.p_exact == pytest.approx(mcnemar_exact(50, 0).pvalue)
    assert watched.p_holm is None
    assert judge.p_holm == judge.p_exact == decision.p_value


def test_advisory_task_does_not_count_towards_limits() -> None:
    pairs = [counted("watched", 50, 50, 100), counted("judge", 5, 5, 100)]
    assert judged(*pairs, flips=0.2).verdict == "FAIL"
    assert judged(*pairs, flips=0.2, roles={"watched": "advisory"}).verdict == "PASS"


def test_no_gating_task_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no gating task"):
        judged(counted("one", 1, 1, 10), roles={"one": "advisory"})


def test_flip_limit_fails_a_candidate_that_is_no_worse() -> None:
    pairs = [counted("one", 10, 10, 100), counted("two", 0, 0, 100)]
    assert judged(*pairs, flips=0.10).verdict == "PASS"
    over = judged(*pairs, flips=0.0999)
    assert (over.verdict, over.exit_code) == ("FAIL", 1)
    tested, limit = over.reasons
    assert tested.startswith("No significant drop (p = 0.588, alpha = 0.05), but the candidate exceeds a limit.")
    assert limit == "10.00% of the answers flipped; the limit is 9.99%."


def test_both_reasons_to_fail_are_given() -> None:
    assert len(judged(counted("one", 40, 2, 100), flips=0.1).reasons) == 2


def test_graded_scores_are_judged_by_sign_flips() -> None:
    """Eleven equal drops: p = 2 ** -11."""
    decision = judged(scored("graded", [0.75] * 11 + [0.5], [0.5] * 11 + [0.5]))
    (task,) = decision.tasks
    assert decision.verdict == "FAIL"
    assert task.test == "sign-flip permutation"
    assert task.p_exact == pytest.approx(2.0**-11)
    assert task.drop == pytest.approx(11 * 0.25 / 12)
    assert task.drop_ci90[0] < task.drop < task.drop_ci90[1]
    assert task.p_mid is None


def test_the_interval_of_graded_scores_contains_students() -> None:
    """One further item is conceded on either side, so that the interval is wider."""
    from scipy.stats import ttest_1samp

    rng = np.random.default_rng(1)
    a, b = rng.random(40), rng.random(40)
    (task,) = judged(scored("graded", a.tolist(), b.tolist())).tasks
    students = ttest_1samp(a - b, 0).confidence_interval(0.9)
    low, high = task.drop_ci90
    assert low < students.low < students.high < high
    assert high - low < 1.5 * (students.high - students.low)


def test_items_of_one_cluster_count_once() -> None:
    """Forty regressions in four clusters are four coins, not forty."""
    clusters = [f"c{n // 10}" for n in range(40)]
    alone = judged(scored("one", [1.0] * 40, [0.0] * 40))
    together = judged(scored("one", [1.0] * 40, [0.0] * 40, clusters))
    assert alone.p_value == pytest.approx(2.0**-40)
    assert together.p_value == pytest.approx(2.0**-4)
    # four coins cannot reach 5%, so a PASS would say nothing
    assert (alone.verdict, together.verdict) == ("FAIL", "INCONCLUSIVE")
    assert together.tasks[0].regressions == 40
    assert together.tasks[0].drop == 1.0
    assert together.sensitivity.blind_tasks == ["one"]


def test_clusters_of_one_item_give_the_same_p_value() -> None:
    pair_ = counted("one", 12, 4, 60)
    own = scored("one", pair_.baseline_score.tolist(), pair_.candidate_score.tolist(), [str(n) for n in range(60)])
    assert judged(own).p_value == pytest.approx(judged(pair_).p_value)


def test_clusters_widen_the_interval_where_their_items_flip_together() -> None:
    baseline, candidate = [1.0] * 60, [0.0] * 30 + [1.0] * 30
    (apart,) = judged(scored("one", baseline, candidate, [str(n) for n in range(60)])).tasks
    (joined,) = judged(scored("one", baseline, candidate, [str(n // 10) for n in range(60)])).tasks
    assert joined.drop_ci90[1] - joined.drop_ci90[0] > 2 * (apart.drop_ci90[1] - apart.drop_ci90[0])
    assert joined.drop_ci90 != apart.drop_ci90


def test_single_cluster_proves_nothing() -> None:
    decision = judged(scored("one", [1.0] * 9, [0.0] * 9, ["same"] * 9))
    (task,) = decision.tasks
    assert (decision.verdict, decision.exit_code) == ("INCONCLUSIVE", 3)
    assert task.drop_ci90 == (-1.0, 1.0)
    assert task.detectable_drop is None


def test_single_item_is_blind() -> None:
    decision = judged(counted("one", 1, 0, 1))
    assert (decision.verdict, decision.exit_code, decision.p_value) == ("INCONCLUSIVE", 3, 0.5)
    assert "The run is too small to show a loss: it has 1 item, so that p is at least 0.5" in decision.reasons[0]


def test_binary_and_graded_tasks_mix_in_one_decision() -> None:
    decision = judged(counted("binary", 20, 6, 100), scored("graded", [0.9] * 8, [0.2] * 4 + [0.9] * 4))
    assert [task.test for task in decision.tasks] == ["exact McNemar", "sign-flip permutation"]
    assert decision.verdict == "FAIL"


def test_the_same_samples_and_seed_give_the_same_decision_and_order_gives_the_same_verdict() -> None:
    rng = np.random.default_rng(3)
    pairs = [scored(f"t{n}", rng.random(50).tolist(), rng.random(50).tolist()) for n in range(3)]
    assert judged(*pairs) == judged(*pairs)
    turned = judged(*reversed(pairs))
    assert turned.aggregate.pooled.p == pytest.approx(judged(*pairs).aggregate.pooled.p, rel=0.05)
    assert [task.task for task in turned.tasks] == ["t2", "t1", "t0"]


def test_detectable_drop_is_detected_with_the_stated_power() -> None:
    """Simulated: drops of the stated size on both tasks fail in about 80% of runs."""
    pairs = [counted("one", 20, 20, 200), counted("two", 20, 20, 200)]
    drop = judged(*pairs, rule="pooled").sensitivity.detectable_drop
    assert drop is not None
    rng = np.random.default_rng(0)
    b, c = (rng.binomial(200, rate, (2000, 2)).sum(axis=1) for rate in (0.1 + drop, 0.1))
    power = np.mean(mcnemar_exact(b, c).pvalue <= 0.05)
    assert 0.77 < power < 0.83


@pytest.mark.parametrize("rule", ["omnibus", "pooled", "max", "fisher", "holm"])
def test_tiny_alpha_is_judged_without_delay(rule: str) -> None:
    decision = judged(counted("one", 45, 35, 600), counted("two", 45, 35, 600), rule=rule, alpha=1e-9)
    assert decision.verdict == "PASS"
    assert decision.sensitivity.detectable_drop is not None


def test_subtasks_are_listed_below_their_group_and_never_decide() -> None:
    right = {"a": ([1.0] * 60, [1.0] * 40 + [0.0] * 20), "b": ([1.0] * 30, [1.0] * 30)}

    def side(which: int) -> ModelSamples:
        columns: dict[str, Any] = {"item_id": [], "score": [], "target": [], "output": []}
        names = []
        for name, answers in right.items():
            for number, score in enumerate(answers[which]):
                names.append(name)
                columns["item_id"].append(f"{name}{number}")
                columns["score"].append(score)
                columns["target"].append("0")
                columns["output"].append("0" if score else "1")
        whole = task_samples("group", "acc", columns)
        index = whole.table.schema.get_field_index("task")
        table = whole.table.set_column(index, whole.table.schema.field(index), pa.array(names))
        return ModelSamples("m", {"group": dataclasses.replace(whole, table=table)})

    decision = decide(pair(side(0), side(1)).tasks, DecisionSettings())
    (row,) = decision.tasks
    assert (row.task, row.n, row.regressions) == ("group", 90, 20)
    assert [(task.task, task.n, task.regressions, task.role) for task in row.subtasks] == [
        ("a", 60, 20, "advisory"),
        ("b", 30, 0, "advisory"),
    ]
    assert row.subtasks[0].p_exact == pytest.approx(0.5**20)
    assert row.subtasks[0].p_holm is None
