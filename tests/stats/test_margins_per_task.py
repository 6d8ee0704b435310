"""Each task may have its own tolerated drop; every rule then tests "no task has dropped by more than its margin"."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.stats import RULES, Evidence, Rule, combine, drop_interval, margin_test, noninferiority

TASKS = [(40, 12, 400), (30, 20, 900), (9, 3, 250)]
EVIDENCE = [Evidence.from_counts(b, c, n) for b, c, n in TASKS]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("margin", [0.0, 0.02])
def test_equal_margins_are_one_margin(rule: Rule, margin: float) -> None:
    each, one = (combine(EVIDENCE, rule, margin=own, rng=0) for own in ([margin] * 3, margin))
    assert each == one


def test_each_task_is_tested_at_its_own_margin_and_pooled_at_the_mean_over_the_items() -> None:
    margins = (0.05, 0.01, 0.0)
    result = combine(EVIDENCE, margin=margins, rng=0)
    assert result.margins == margins
    expected = [margin_test(b, c, n, own).pvalue for (b, c, n), own in zip(TASKS, margins, strict=True)]
    assert result.task_pvalues == pytest.approx(expected)
    mean = (0.05 * 400 + 0.01 * 900) / 1550
    assert result.pooled.pvalue == pytest.approx(margin_test(79, 35, 1550, mean).pvalue)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from([0.0, 0.01, 0.03, 0.1]), min_size=3, max_size=3), st.integers(0, 2))
def test_a_larger_margin_of_one_task_never_lowers_a_pvalue(margins: list[float], task: int) -> None:
    wider = [margin + 0.02 * (index == task) for index, margin in enumerate(margins)]
    before, after = (combine(EVIDENCE, margin=own, n_resamples=2000, rng=0) for own in (margins, wider))
    for rule in ("pooled", "max_drop", "fisher", "holm"):
        assert getattr(after, rule).pvalue >= getattr(before, rule).pvalue * (1 - 1e-9)


@pytest.mark.parametrize(
    ("margin", "message"),
    [([0.1, 0.1], r"one per task \(3\), found 2"), ([0.1, -0.1, 0.0], "at least 0, found -0.1"), (np.nan, "found nan")],
)
def test_margins_that_do_not_fit_are_refused(margin: float | list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        combine(EVIDENCE, margin=margin)


def test_the_level_holds_where_every_drop_equals_its_margin() -> None:
    """200 candidates at the border of the null hypothesis, with three different margins."""
    rng = np.random.default_rng(5)
    margins, sizes, gains = (0.0, 0.02, 0.05), (300, 500, 400), (0.03, 0.02, 0.04)
    pvalues = []
    for _ in range(200):
        evidence = []
        for margin, n, gain in zip(margins, sizes, gains, strict=True):
            b, c, _ = rng.multinomial(n, [gain + margin, gain, 1 - 2 * gain - margin])
            evidence.append(Evidence.from_counts(int(b), int(c), n))
        result = combine(evidence, margin=margins, n_resamples=1000, rng=0)
        rules = (result.omnibus, result.pooled, result.max_drop, result.fisher, result.holm)
        pvalues.append([rule.pvalue for rule in rules])
    sizes_at = (np.array(pvalues) <= 0.05).mean(axis=0)
    assert (sizes_at <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5).all()


@pytest.mark.parametrize("margin", [0.5, 0.99, 0.999])
def test_a_margin_close_to_1_can_be_tested_and_has_an_interval(margin: float) -> None:
    """The Clopper-Pearson bounds of the nuisance rate must be numbers at levels as small as 1e-300."""
    for b, c in (0, 4), (2, 2), (20, 1):
        low, high = drop_interval(b, c, 24, margin=margin)
        assert low <= (b - c) / 24 <= high
        assert 0.0 <= noninferiority(b, c, 24, margin).pvalue <= 1.0
        assert margin_test(b, c, 24, margin).pvalue > 0.9 * (margin > 0.9)
