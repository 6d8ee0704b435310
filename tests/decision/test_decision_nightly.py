"""Nightly e-values: their evidence over dependent and independent runs, and what a false alarm costs."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from gate.config import DecisionSettings
from gate.decision import decide, spend
from gate.decision.nightly import (
    Night,
    items_sketch,
    level_of_one_run,
    log_e_value_of,
    spend_evalues,
    with_tonight,
)
from gate.decision.rows import Judged, evidence_of
from gate.importers.build import task_samples
from gate.samples import ModelSamples, PairedTask, pair
from gate.stats import log_e_value, log_e_value_of_differences, mcnemar_exact

SETTINGS = DecisionSettings.model_validate({"alpha_spending": {"kind": "evalue"}, "draws": 1000})
ITEMS = frozenset({"a", "b"})


def evidence(past: list[Night], tonight: Night, runs: int = 10, per_group: int | None = None) -> float:
    """Return the logarithm of the evidence after a run."""
    spending, _ = with_tonight(spend_evalues(0.05, runs, per_group, past, tonight), tonight.log_e_value)
    assert spending.evidence is not None
    return spending.evidence.log_evidence


NAMES = map("C{}".format, itertools.count())


def night(log_e: float, baseline: str = "B", candidate: str | None = None, items: frozenset[str] = ITEMS) -> Night:
    """Return a run, by default of one more candidate against the same baseline."""
    return Night(baseline, candidate or next(NAMES), items, log_e)


def paired(b: int, c: int, n: int, name: str = "t", clusters: list[str] | None = None) -> PairedTask:
    scores = np.array([[1, 0]] * b + [[0, 1]] * c + [[1, 1]] * (n - b - c), dtype=float)
    columns = {"item_id": [f"{name}{i}" for i in range(n)], "target": ["x"] * n, "output": ["x"] * n}
    if clusters is not None:
        columns["cluster"] = clusters
    sides = [
        ModelSamples(side, {name: task_samples(name, "acc", {**columns, "score": scores[:, k]})})
        for k, side in enumerate(("base", "cand"))
    ]
    return pair(*sides).tasks[0]


def judged(task: PairedTask) -> Judged:
    return Judged(task, "gating", evidence_of(task, 0))


def test_one_run_counts_one_share_of_the_planned_runs() -> None:
    assert evidence([], night(3.0)) == pytest.approx(3.0 - math.log(10))
    assert evidence([], night(3.0), runs=1) == pytest.approx(3.0)


def test_dependent_runs_are_averaged_over_the_planned_runs() -> None:
    past = [night(1.0), night(2.0)]
    expected = math.log((math.exp(1) + math.exp(2) + math.exp(-1)) / 10)
    assert evidence(past, night(-1.0)) == pytest.approx(expected)


@pytest.mark.parametrize("fresh", [night(2.0, "B2", "C2"), night(2.0, items=frozenset({"z"}))], ids=["models", "items"])
def test_an_independent_run_multiplies_what_the_runs_before_left(fresh: Night) -> None:
    left = (math.exp(1) + math.exp(3)) / 10
    past = [night(1.0), night(3.0)]
    assert evidence(past, fresh) == pytest.approx(math.log(math.exp(2) / 10 + left * math.exp(2) / 10))
    assert evidence(past, fresh, per_group=4) == pytest.approx(math.log(math.exp(2) / 10 + left * math.exp(2) / 4))


def test_fresh_runs_mix_the_products_from_every_start() -> None:
    values = [0.5, -1.0, 2.0, 1.5]
    nights = [night(value, f"B{k}", f"C{k}") for k, value in enumerate(values)]
    starts = [math.exp(sum(values[start:])) for start in range(4)]
    assert evidence(nights[:3], nights[3], runs=7, per_group=1) == pytest.approx(math.log(sum(starts) / 7))


def test_runs_beyond_the_planned_ones_of_a_group_do_not_multiply() -> None:
    past = [night(1.0), night(2.0, "B2", "C2")]
    left = math.exp(1) / 10
    expected = (math.exp(2) + math.exp(4)) / 10 + left * math.exp(2)
    assert evidence(past, night(4.0, "B2", "C3"), per_group=1) == pytest.approx(math.log(expected))


@pytest.mark.parametrize("shared", [night(2.0, "B", "C2"), night(2.0, "B2", "C")], ids=["baseline", "candidate"])
def test_a_run_that_shares_a_model_is_not_fresh(shared: Night) -> None:
    assert evidence([night(1.0, "B", "C")], shared) == pytest.approx(math.log((math.exp(1) + math.exp(2)) / 10))


@pytest.mark.parametrize("fresh", [night(2.0, "B2"), night(2.0, items=frozenset({"z"}))], ids=["models", "items"])
def test_at_a_margin_only_other_items_are_fresh(fresh: Night) -> None:
    """Items of which an unlucky sample has many are lost by other models too."""
    past = [night(1.0)]
    spending, _ = with_tonight(spend_evalues(0.05, 10, None, past, fresh, margin=True), fresh.log_e_value)
    assert spending.evidence is not None
    assert spending.evidence.run_of_group == (2 if fresh.items == ITEMS else 1)


def test_a_repeated_run_counts_once_with_the_mean_of_its_e_values() -> None:
    """By their sum, running each candidate with e >= 20 again until the end of the year alarms in 16 % of years."""
    first = [night(1.0), night(9.0, candidate="C")]
    once = evidence(first[:1], first[1])
    for times in (1, 5, 50):
        again = [replace(first[1]) for _ in range(times)]
        assert evidence([*first, *again[1:]], again[0]) == pytest.approx(once)
    after = [*first, night(2.0)]
    expected = math.log((math.exp(1) + (math.exp(9) + math.exp(3)) / 2 + math.exp(2)) / 10)
    assert evidence(after, night(3.0, candidate="C")) == pytest.approx(expected)
    assert evidence([*after, night(3.0, candidate="C")], night(0.0)) == pytest.approx(
        np.logaddexp(expected, -math.log(10))
    )


@pytest.mark.parametrize("per_group", [None, 1, 2])
def test_a_repeated_run_changes_no_product(per_group: int | None) -> None:
    runs = [night(1.0), night(2.0, "B2", "C2"), night(0.5, "B2", "C3")]
    for again in ([runs[1]], [runs[1], runs[2]], [runs[2], runs[2], runs[1]]):
        nights = [*runs, *map(replace, again)]
        found = evidence(nights[:-1], nights[-1], per_group=per_group)
        assert found == pytest.approx(evidence(runs[:2], runs[2], per_group=per_group))


def test_a_collapse_shows_in_a_run_that_was_quiet_before() -> None:
    """The same models and items, on a stack that the fingerprints do not cover."""
    past = [night(0.0, candidate="C") for _ in range(200)]
    spending = spend_evalues(0.05, 365, None, past, night(0.0, candidate="C"))
    assert with_tonight(spending, log_e_value(100, 20))[1] <= 0.05


def test_a_returning_baseline_joins_the_groups_since() -> None:
    past = [night(5.0), night(1.0, "B2", "C2"), night(5.0, "B", "C3")]
    assert evidence(past, night(0.0, "B2", "C4")) == pytest.approx(math.log((2 * math.exp(5) + math.exp(1) + 1) / 10))


def test_evidence_starts_afresh_after_an_alarm_and_after_the_planned_runs() -> None:
    alarm = replace(night(9.0), alarm=True)
    assert evidence([night(1.0), alarm], night(2.0)) == pytest.approx(2.0 - math.log(10))
    assert evidence([night(1.0) for _ in range(10)], night(2.0)) == pytest.approx(2.0 - math.log(10))
    spending = spend_evalues(0.05, 10, None, [night(1.0), alarm], night(0.0))
    assert (spending.alarms, spending.run, spending.level) == (1, 3, 0.05)


@pytest.mark.parametrize("fresh", [False, True])
def test_the_level_never_shrinks_and_a_collapse_alarms_after_a_thousand_quiet_runs(fresh: bool) -> None:
    past = [night(-3.0, f"B{k}", f"C{k}") for k in range(1000)] if fresh else [night(-3.0) for _ in range(1000)]
    spending = spend_evalues(0.05, 365, 1 if fresh else None, past, night(0.0, "B", "C"))
    assert spending.level == 0.05
    _, p = with_tonight(spending, log_e_value(100, 20))
    assert p <= 0.05


def test_the_sketch_shows_common_items() -> None:
    first = [f"i{n}" for n in range(5000)]
    second = [f"j{n}" for n in range(5000)]
    assert len(items_sketch(first)) == 64
    assert not items_sketch(first) & items_sketch(second)
    assert items_sketch(first) & items_sketch(first[:1500] + second)
    assert items_sketch(first) == items_sketch(first[::-1])


def test_the_e_value_of_one_task_is_that_of_its_flips() -> None:
    task = judged(paired(30, 10, 200))
    assert log_e_value_of([task], SETTINGS) == pytest.approx(log_e_value(30, 10))
    clusters = [str(i // 2) for i in range(200)]
    clustered = paired(30, 10, 200, clusters=clusters)
    expected = log_e_value_of_differences(clustered.baseline_score - clustered.candidate_score, clusters)
    assert log_e_value_of([judged(clustered)], SETTINGS) == pytest.approx(expected)


def test_the_e_value_of_several_tasks_is_the_mean_of_pooled_and_single_ones() -> None:
    tasks = [judged(paired(30, 10, 200, "a")), judged(paired(9, 8, 100, "b"))]
    single = [math.exp(log_e_value(30, 10)), math.exp(log_e_value(9, 8))]
    expected = (math.exp(log_e_value(39, 18)) + np.mean(single)) / 2
    assert math.exp(log_e_value_of(tasks, SETTINGS)) == pytest.approx(expected)


def test_a_cluster_that_two_tasks_share_counts_once() -> None:
    """The same five items in two tasks, all worse: as much evidence as in one task."""
    tasks = [replace(paired(5, 0, 5, name), clusters=np.arange(5), shared=np.arange(5)) for name in ("a", "b")]
    alone = log_e_value_of([judged(tasks[0])], SETTINGS)
    assert log_e_value_of(list(map(judged, tasks)), SETTINGS) == pytest.approx(alone)


def test_the_expectation_over_all_outcomes_of_two_tasks_is_one() -> None:
    """Three flips in one task and four in the other, all signs fair: exact enumeration."""
    total = 0.0
    for b1, b2 in itertools.product(range(4), range(5)):
        weight = math.comb(3, b1) * math.comb(4, b2) / 2**7
        tasks = [judged(paired(b1, 3 - b1, 10, "a")), judged(paired(b2, 4 - b2, 10, "b"))]
        total += weight * math.exp(log_e_value_of(tasks, SETTINGS))
    assert total == pytest.approx(1.0, abs=1e-9)


def test_the_decision_follows_the_evidence_of_the_series() -> None:
    task = paired(60, 10, 200)
    alone = spend_evalues(0.05, 365, None, [], night(0.0))
    decision = decide([task], SETTINGS, spending=alone)
    assert (decision.verdict, decision.tasks[0].fails) == ("FAIL", True)
    assert decision.p_value == pytest.approx(365 / math.exp(log_e_value(60, 10)))
    weak = paired(30, 15, 200)  # p = .018, e = 5.6
    assert decide([weak], SETTINGS, spending=alone).verdict == "PASS"
    before = spend_evalues(0.05, 365, None, [night(math.log(20 * 365 - 1))], night(0.0))
    decision = decide([weak], SETTINGS, spending=before)
    assert decision.verdict == "FAIL"
    assert "evidence of the series" in decision.reasons[0]


def test_sensitivity_is_that_of_one_run_without_earlier_evidence() -> None:
    spending = spend_evalues(0.05, 365, None, [], night(0.0))
    level = level_of_one_run(spending, 200)
    first = next(b for b in range(201) if log_e_value(b, 200 - b) >= math.log(365 / 0.05))
    assert level == pytest.approx(mcnemar_exact(first, 200 - first).pvalue)
    assert level_of_one_run(spending, 5) == 2.0**-6  # five flips cannot give an alarm
    task = paired(100, 100, 2500)
    with_evidence = decide([task], SETTINGS, spending=spending)
    plain = decide([task], DecisionSettings(draws=1000))
    assert with_evidence.sensitivity.detectable_drop is not None
    assert plain.sensitivity.detectable_drop is not None
    assert with_evidence.sensitivity.detectable_drop > 1.5 * plain.sensitivity.detectable_drop


def test_several_candidates_are_refused() -> None:
    from gate.config import GateConfig

    with pytest.raises(ValueError, match=r"give each candidate its own gate\.yml"):
        GateConfig.model_validate(
            {
                "version": 1,
                "baseline": {"model": "a"},
                "candidates": [{"name": "x", "model": "b"}, {"name": "y", "model": "c"}],
                "tasks": ["arc_easy"],
                "decision": {"alpha_spending": {"kind": "evalue"}},
            }
        )


@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
def test_a_year_of_an_unchanged_model_alarms_with_probability_at_most_alpha(correlation: float) -> None:
    """400 simulated years of 120 runs against one stored baseline, 200 flips per run; alpha = .2 to see alarms."""
    generator = np.random.default_rng(4)
    runs, alpha, years = 120, 0.2, 400
    shared = generator.normal(size=(years, 1))
    z = math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * generator.normal(size=(years, runs))
    b = np.clip(np.rint(100 + z * math.sqrt(50)).astype(int), 0, 200)
    total = np.cumsum(np.exp(log_e_value(b, 200 - b)), axis=1) / runs
    assert np.mean((total >= 1 / alpha).any(axis=1)) <= alpha + 2 * math.sqrt(alpha * (1 - alpha) / years)
    # the closed form used here is that of the policy
    past = [night(float(value)) for value in log_e_value(b[0, :5], 200 - b[0, :5])]
    assert evidence(past[:4], past[4], runs=runs) == pytest.approx(math.log(total[0, 4]))


def test_a_year_of_fresh_items_alarms_with_probability_at_most_alpha() -> None:
    generator = np.random.default_rng(5)
    runs, alpha, years = 120, 0.2, 2000
    b = generator.binomial(200, 0.5, (years, runs))
    e = np.exp(log_e_value(b, 200 - b))
    total, alarms = np.zeros(years), np.zeros(years, dtype=bool)
    for run in range(runs):
        total = (total + 1 / runs) * e[:, run]
        alarms |= total >= 1 / alpha
    assert np.mean(alarms) <= alpha + 2 * math.sqrt(alpha * (1 - alpha) / years)
    nights = [night(float(value), f"B{k}", f"C{k}") for k, value in enumerate(np.log(e[0, :5]))]
    expected = sum(math.prod(e[0, start:5]) for start in range(5)) / runs
    assert evidence(nights[:4], nights[4], runs=runs, per_group=1) == pytest.approx(math.log(expected))


def test_the_yearly_guarantee_advises_a_fresh_baseline_after_an_alarm() -> None:
    spending = spend(DecisionSettings.model_validate({"alpha_spending": {"kind": "yearly"}}), [])
    assert spending is not None
    assert "in bursts, so refresh the baseline after an alarm" in spending.guarantee
