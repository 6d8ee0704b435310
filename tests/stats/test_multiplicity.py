"""Holm's adjustment and the tasks that cannot reject."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.stats import can_reject, holm

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(p_values, st.randoms())
def test_the_order_of_tasks_does_not_matter(p: list[float], random) -> None:  # type: ignore[no-untyped-def]
    order = list(range(len(p)))
    random.shuffle(order)
    assert holm([p[k] for k in order]).tolist() == holm(p)[order].tolist()


@given(p_values)
def test_adjusted_values_keep_the_order_and_lie_between_raw_and_bonferroni(p: list[float]) -> None:
    raw, adjusted = np.array(p), holm(p)
    order = np.argsort(raw)
    assert (np.diff(adjusted[order]) >= 0).all()
    assert (adjusted >= raw).all()
    assert (adjusted <= np.minimum(1, len(p) * raw)).all()


@given(p_values, st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_method_rejects(p: list[float], alpha: float) -> None:
    expected = np.zeros(len(p), dtype=bool)
    for rank, k in enumerate(np.argsort(p, kind="stable")):
        if p[k] * (len(p) - rank) > alpha:
            break
        expected[k] = True
    assert (holm(p) <= alpha).tolist() == expected.tolist()


def test_a_task_with_few_discordant_items_cannot_reject() -> None:
    assert can_reject([5, 6, 0], 0.05).tolist() == [False, True, False]
    assert can_reject([5, 60], 0.05, pvalues=[0.5, 1e-9]).tolist() == [True, True], (
        "the first rejection passes its level on"
    )
    assert can_reject([5, 60], 0.05, pvalues=[0.5, 0.5]).tolist() == [False, True]


def test_invalid_pvalues_raise() -> None:
    with pytest.raises(ValueError, match="pvalues: expected p-values between 0 and 1, found nan"):
        holm([0.1, float("nan")])
    with pytest.raises(ValueError, match="pvalues: expected one p-value per task"):
        can_reject([1, 2], 0.05, pvalues=[0.5])
