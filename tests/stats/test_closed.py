"""Closed testing: a task fails only where the rule rejects every set of tasks that contains it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.stats import RULES, Evidence, Rule, closed_evalues, closed_pvalues, combine, holm, log_e_value

counts = st.tuples(st.integers(0, 40), st.integers(0, 40))


def of_counts(*pairs: tuple[int, int], n: int | None = None) -> list[Evidence]:
    return [Evidence.from_counts(b, c, n) for b, c in pairs]


def by_definition(tasks: list[Evidence], rule: Rule) -> list[float]:
    """The largest p-value of the rule over all sets that contain the task, one `combine` per set."""
    largest = [0.0] * len(tasks)
    for size in range(1, len(tasks) + 1):
        for chosen in itertools.combinations(range(len(tasks)), size):
            p = combine([tasks[k] for k in chosen], rule, rng=1, n_resamples=200_000).pvalue
            for k in chosen:
                largest[k] = max(largest[k], p)
    return largest


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "tasks",
    [
        of_counts((30, 8), (14, 9), (10, 12), (6, 2)),
        of_counts((25, 5), (0, 0), (60, 30), (3, 3)),
        [
            *of_counts((30, 8), (14, 9)),
            Evidence.from_differences([0.5, 0.25, -0.25, 1.0, 0.75, 0.5, 0.25, 0.1, 0.3, -0.2, 0.6, 0.9], rng=0),
        ],
    ],
    ids=["all discordant", "one without flips", "graded"],
)
def test_the_adjusted_p_value_is_the_largest_over_all_sets(rule: Rule, tasks: list[Evidence]) -> None:
    combined = combine(tasks, rule, rng=0)
    adjusted = closed_pvalues(tasks, combined, rng=0)
    exact = np.array(by_definition(tasks, rule))
    error = np.sqrt(exact * (1 - exact) / 16_384)  # of ranks among the draws
    assert (np.abs(adjusted - exact) <= 4.5 * error + 1e-9).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(counts, min_size=1, max_size=5), st.sampled_from(RULES), st.randoms())
def test_adjusted_values_bound_both_p_values_and_do_not_depend_on_the_order(
    pairs: list[tuple[int, int]],
    rule: Rule,
    random,  # type: ignore[no-untyped-def]
) -> None:
    tasks = of_counts(*pairs)
    combined = combine(tasks, rule, rng=0, n_resamples=10_000)
    adjusted = closed_pvalues(tasks, combined, rng=0, n_resamples=2_000)
    assert (adjusted >= combined.pvalue).all()
    assert (adjusted >= np.array(combined.task_pvalues) - 1e-12).all()
    assert (adjusted <= 1).all()
    order = list(range(len(tasks)))
    random.shuffle(order)
    turned = [tasks[k] for k in order]
    again = closed_pvalues(turned, combine(turned, rule, rng=0, n_resamples=10_000), rng=0, n_resamples=2_000)
    assert again.tolist() == adjusted[order].tolist()


@pytest.mark.parametrize("rule", RULES)
def test_the_probability_of_a_false_failure_is_at_most_alpha_by_enumeration(rule: Rule) -> None:
    """Three tasks: the first has truly dropped by much or not at all, the other two have not dropped."""
    sizes = (8, 6, 5)
    outcomes = list(itertools.product(*(range(m + 1) for m in sizes)))
    null = [[math.comb(m, b) / 2**m for b in range(m + 1)] for m in sizes]
    false = np.zeros(len(outcomes))
    any_failure = np.zeros(len(outcomes))
    for index, outcome in enumerate(outcomes):
        tasks = of_counts(*((b, m - b) for b, m in zip(outcome, sizes, strict=True)))
        combined = combine(tasks, rule)
        if combined.pvalue <= 0.05:
            fails = closed_pvalues(tasks, combined, rng=0, n_resamples=4_000) <= 0.05
            false[index], any_failure[index] = fails[1:].any(), fails.any()
    for share in (0.5, 0.8, 0.95, 1.0):
        dropped = [math.comb(8, b) * share**b * (1 - share) ** (8 - b) for b in range(9)]
        weight = np.array([dropped[x] * null[1][y] * null[2][z] for x, y, z in outcomes])
        size = float(weight @ (any_failure if share == 0.5 else false))
        assert size <= 0.0505, share


def test_a_bad_task_hidden_by_quiet_ones_does_not_fail_by_itself() -> None:
    """22 worse, 8 better beside five times 10 worse, 12 better: Holm alone rejects the first task."""
    tasks = of_counts((22, 8), *((10, 12),) * 5)
    combined = combine(tasks, rng=0)
    assert combined.pvalue > 0.05 > combined.task_pvalues_holm[0]
    assert (closed_pvalues(tasks, combined, rng=0) > 0.05).all()


def test_many_tasks_and_margins_need_both_the_decision_and_holm() -> None:
    many = of_counts((40, 5), *((10, 9),) * 11)
    combined = combine(many, rng=0)
    assert closed_pvalues(many, combined).tolist() == np.maximum(holm(combined.task_pvalues), combined.pvalue).tolist()
    tolerant = of_counts((60, 5), (10, 9), n=1000)
    combined = combine(tolerant, rng=0, margin=0.01)
    expected = np.maximum(holm(combined.task_pvalues), combined.pvalue)
    assert closed_pvalues(tolerant, combined).tolist() == expected.tolist()
    assert expected[0] < 0.001


@pytest.mark.parametrize("rule", RULES)
def test_no_floor_lies_above_a_small_level(rule: Rule) -> None:
    """A collapse of three tasks must fail each of them at the levels of a long nightly series."""
    tasks = of_counts((400, 10), (300, 8), (500, 12))
    combined = combine(tasks, rule, rng=0)
    assert (closed_pvalues(tasks, combined, rng=0) <= max(1e-12, combined.pvalue)).all()


@given(st.lists(counts, min_size=1, max_size=4))
def test_the_e_value_of_a_task_is_the_smallest_over_all_sets(pairs: list[tuple[int, int]]) -> None:
    adjusted = closed_evalues([b for b, _ in pairs], [c for _, c in pairs])
    for k in range(len(pairs)):
        smallest = min(
            log_e_value(sum(pairs[j][0] for j in chosen), sum(pairs[j][1] for j in chosen))
            for size in range(1, len(pairs) + 1)
            for chosen in itertools.combinations(range(len(pairs)), size)
            if k in chosen
        )
        assert adjusted[k] == pytest.approx(min(1.0, math.exp(-smallest)))


def test_false_failures_after_an_early_stop_keep_the_level() -> None:
    """Flip by flip, two tasks, the first collapsed: the second, unchanged one rarely fails whenever the run stops."""
    rng = np.random.default_rng(5)
    level, false, stopped, runs = 0.05, 0, 0, 400
    for _ in range(runs):
        first = np.cumsum(rng.random(300) < 0.7)
        second = np.cumsum(rng.random(300) < 0.5)
        steps = np.arange(1, 301)
        e = log_e_value(first + second, 2 * steps - first - second)
        reached = np.flatnonzero(e >= -math.log(level))
        if reached.size:
            at = reached[0]
            b = [int(first[at]), int(second[at])]
            stopped += 1
            false += bool(closed_evalues(b, [int(at) + 1 - x for x in b])[1] <= level)
    assert stopped > 0.9 * runs
    assert false / runs <= level


def test_many_tasks_after_an_early_stop_are_adjusted_by_holm() -> None:
    b, c = [60, *[5] * 11], [10, *[5] * 11]
    adjusted = closed_evalues(b, c)
    assert adjusted[0] == pytest.approx(max(12 * math.exp(-log_e_value(60, 10)), math.exp(-log_e_value(115, 65))))
    assert adjusted[1] == 1.0


def test_evidence_of_another_decision_is_refused() -> None:
    tasks = of_counts((5, 1), (6, 2))
    with pytest.raises(ValueError, match="evidences: expected those given to `combine`"):
        closed_pvalues(tasks[:1], combine(tasks))
