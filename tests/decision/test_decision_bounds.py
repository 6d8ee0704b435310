"""What a report may claim: bounds, intervals, detectable drops, blind tasks and runs."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.config import DecisionSettings, TaskPolicy
from gate.decision import Decision, decide, wording
from gate.decision.candidates import Entrant, decide_candidates
from gate.decision.run_sections import EarlyStopping
from gate.samples import PairedTask
from gate.stats import detectable_drop
from tests.support.paired_tasks import counted, scored


def judged(*pairs: PairedTask, early: EarlyStopping | None = None, **policy: object) -> Decision:
    return decide(list(pairs), DecisionSettings(draws=2000, **policy), early=early)


def clustered(name: str, sizes: list[int], lost: int = 2) -> PairedTask:
    """All items of the last `lost` clusters become wrong."""
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    candidate = np.where(clusters >= len(sizes) - lost, 0.0, 1.0)
    return scored(name, [1.0] * len(clusters), candidate.tolist(), [f"{name}{number}" for number in clusters])


def test_bounds_of_equal_clusters_are_called_approximate() -> None:
    decision = judged(clustered("one", [4] * 50), counted("two", 4, 4, 300))
    text = wording.bounds(decision)
    assert text.startswith("With approximately 95% confidence, no gating task's true drop exceeds ")
    assert text.endswith("(simultaneous bounds; large-sample approximations on one).")
    assert (decision.tasks[0].units, decision.tasks[0].effective_units) == (50, 50)


def test_unequal_clusters_are_named() -> None:
    decision = judged(clustered("one", [40] * 8 + [2] * 80), counted("two", 4, 4, 300))
    assert "Unequal clusters: the 88 clusters of one count as 8.4 of equal size." in wording.bounds(decision)


def test_no_bound_is_given_for_a_few_effective_clusters() -> None:
    decision = judged(clustered("one", [500] + [1] * 500), counted("two", 4, 4, 300))
    assert decision.tasks[0].drop_bound is None
    assert wording.bounds(decision) == (
        "No bounds of the drops are given: the 501 clusters of one count as 1 of equal size (fewer than 5)."
    )


def test_the_confidence_is_never_rounded_to_certainty() -> None:
    text = wording.bounds(judged(counted("one", 4, 4, 300), counted("two", 4, 4, 300), alpha=1e-12))
    assert text.startswith("With 99.9999999999% confidence")
    assert "inf" not in text


def test_tasks_that_fail_by_closed_testing_are_not_called_blind() -> None:
    """5 of 5 regressions have p = 1/32: Holm's method rejects neither task, the closed test both."""
    decision = judged(counted("one", 5, 0, 100), counted("two", 5, 0, 100))
    assert [task.fails for task in decision.tasks] == [True, True]
    assert decision.sensitivity.blind_tasks == []
    assert "too few flips" not in wording.detectable_drop(decision)


def test_a_task_with_four_flips_cannot_fail() -> None:
    assert judged(counted("one", 4, 0, 100), counted("two", 30, 0, 100)).sensitivity.blind_tasks == ["one"]


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=4),
    st.sampled_from(["omnibus", "pooled", "max", "fisher", "holm"]),
    st.sampled_from([0.0, 0.01]),
)
def test_a_failing_task_is_never_called_blind(flips: list[tuple[int, int]], rule: str, margin: float) -> None:
    pairs = [counted(f"t{k}", b, c, 80) for k, (b, c) in enumerate(flips)]
    decision = judged(*pairs, rule=rule, margin=margin)
    assert not {task.task for task in decision.failed_tasks} & set(decision.sensitivity.blind_tasks)


def thirty_percent(lost: int) -> PairedTask:
    right = [1.0] * 30 + [0.0] * 70
    return scored("one", right, [0.0] * lost + right[lost:])


@pytest.mark.parametrize("lost", [0, 30])
def test_a_margin_above_the_accuracy_makes_the_run_blind(lost: int) -> None:
    decision = judged(thirty_percent(lost), margin=0.4)
    assert (decision.verdict, decision.exit_code) == ("INCONCLUSIVE", 3)
    assert (
        "a loss of all that the baseline gets right (30.0% of 100 items) is not significantly above"
        in (decision.reasons[0])
    )


def test_a_margin_that_a_loss_can_exceed_does_not_blind() -> None:
    assert judged(thirty_percent(0), margin=0.1).verdict == "PASS"
    assert judged(thirty_percent(30), margin=0.1).verdict == "FAIL"
    graded = scored("one", [0.3] * 100, [0.3] * 100)
    assert judged(graded, margin=0.4).verdict == "INCONCLUSIVE"
    assert judged(graded, margin=0.1).verdict == "PASS"


def test_intervals_after_an_early_stop_are_marked() -> None:
    early = EarlyStopping(alpha=0.01, log_e_value=9.0, stopped=True, items=256, total=1000)
    stopped = judged(counted("one", 12, 0, 256), early=early)
    assert wording.interval_name(stopped) == "90% interval, not adjusted for the stop"
    assert "points, not adjusted for the stop;" in wording.task_summary(stopped, stopped.tasks[0])
    running = judged(counted("one", 12, 0, 256))
    assert wording.interval_name(running) == "90% interval"
    assert "stop" not in wording.task_summary(running, running.tasks[0])


def test_the_detectable_drop_of_one_of_five_candidates_has_a_fifth_of_alpha() -> None:
    policy = DecisionSettings(draws=2000)
    entrants = {str(k): Entrant([counted("one", 10, 10, 1000)]) for k in range(5)}
    decision = decide_candidates(entrants, policy)["0"]
    expected = detectable_drop(1000, 0.02, 0.01, 0.8, 0.5)
    assert decision.sensitivity.detectable_drop == pytest.approx(expected)
    assert decision.sensitivity.alpha == pytest.approx(0.01)
    assert decision.tasks[0].detectable_drop == pytest.approx(expected)
    assert "This holds for alpha divided by 5, a conservative choice" in wording.detectable_drop(decision)
    alone = decide([counted("one", 10, 10, 1000)], policy)
    assert alone.sensitivity.detectable_drop == pytest.approx(detectable_drop(1000, 0.02, 0.05, 0.8, 0.5))
    assert "divided by" not in wording.detectable_drop(alone)


@pytest.mark.parametrize("margin", [0.0, 0.01])
@pytest.mark.parametrize("tasks", [1, 2])
def test_no_detectable_drop_is_negative(margin: float, tasks: int) -> None:
    decision = judged(*(counted(f"t{k}", 20, 15, 1000) for k in range(tasks)), alpha=0.999999, margin=margin)
    assert decision.sensitivity.detectable_drop is not None
    assert decision.sensitivity.detectable_drop >= 0.0


@pytest.mark.parametrize("lost", [0, 7])
def test_scores_in_other_units_have_the_same_detectable_drop(lost: int) -> None:
    """Seven of 200 items lose 200: there is room for more such losses."""
    baseline = np.random.default_rng(1).uniform(300, 900, 200)
    candidate = baseline - np.where(np.arange(200) < lost, 200.0, 0.0)
    one, other = (
        judged(scored("one", (baseline * unit).tolist(), (candidate * unit).tolist())).tasks[0] for unit in (1.0, 100.0)
    )
    assert one.detectable_drop is not None
    assert other.detectable_drop == pytest.approx(100 * one.detectable_drop)
    assert other.drop_ci90 == pytest.approx(tuple(100 * end for end in one.drop_ci90))
    assert one.drop_ci90[1] > 1.0, "the scores' own scale"


def test_the_interval_of_a_significant_graded_task_does_not_cross_0() -> None:
    """7 of 200 items are lower by .05 to .35: p = 2**-7, and Student's t gave -1.91 to +3.31 points."""
    differences = np.zeros(200)
    differences[:7] = np.linspace(0.05, 0.35, 7)
    task = judged(scored("one", [0.5] * 200, (0.5 - differences).tolist())).tasks[0]
    assert task.p_exact == pytest.approx(2.0**-7)
    assert task.drop_ci90[0] >= 0.0
    assert task.drop_ci90[1] > task.drop


def test_no_p_value_is_printed_as_0() -> None:
    decision = judged(counted("one", 3000, 0, 3000), counted("two", 3000, 0, 3000))
    assert decision.aggregate.pooled.p == 0.0
    assert not re.search(r"(pooled|max|Fisher|omnibus|=) 0[ ,.;]", wording.p_values(decision))
    assert "pooled ≤ 1e-300, max ≤ 1e-300, Fisher ≤ 1e-300, omnibus ≤ 1e-300" in wording.p_values(decision)
    assert "p ≤ 1e-300" in wording.task_summary(decision, decision.tasks[0])
    assert "0" not in (wording.p_value(1.0), wording.p_value(0.0))


def test_a_bound_of_a_graded_task_is_marked() -> None:
    """Beyond all drawn signs, the p-value is Chernoff's bound."""
    drops = np.random.default_rng(2).uniform(0.1, 0.4, 300)
    decision = judged(scored("one", [0.5] * 300, (0.5 - drops).tolist()))
    assert decision.tasks[0].p_is_bound
    assert decision.p_is_bound
    assert wording.deciding_p(decision).startswith("p ≤ ")
    assert "pooled ≤ " in wording.p_values(decision)
    assert "p ≤ " in wording.task_summary(decision, decision.tasks[0])
    exact = judged(scored("one", [0.5] * 300, [0.25] * 20 + [0.5] * 280))
    assert not exact.p_is_bound


def test_a_level_or_margin_out_of_range_is_refused() -> None:
    for policy in ({"margin": 1.0}, {"alpha": 1e-17}, {"alpha": 1e-300}):
        with pytest.raises(ValueError, match=next(iter(policy))):
            DecisionSettings(**policy)
    with pytest.raises(ValueError, match="margin"):
        TaskPolicy(margin=1.0)


def test_the_smallest_level_works_with_everything() -> None:
    pairs = [counted("one", 20, 15, 1000), clustered("two", [5] * 40)]
    decision = judged(*pairs, alpha=1e-12, margin=0.01, certify=0.01)
    assert decision.verdict == "INCONCLUSIVE"
    assert all(task.drop_bound is not None and task.drop_bound <= 1.0 for task in decision.tasks)
