"""Early stopping: the error rate holds at any number of looks, and a damaged model stops early."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gate.evaluation.early_stop import StoppingEvidence, first_of_each_prompt, split_into_looks
from gate.stats import log_e_value
from gate.tasks import Item


def paths(regress: float, improve: float, items: int, runs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative regressions and improvements, shape (runs, items)."""
    kinds = np.random.default_rng(seed).choice(
        [0, 1, 2], size=(runs, items), p=[1 - regress - improve, regress, improve]
    )
    return np.cumsum(kinds == 1, axis=1), np.cumsum(kinds == 2, axis=1)


def test_a_look_after_every_item_spends_at_most_its_share_of_alpha() -> None:
    evidence = log_e_value(*paths(0.05, 0.05, 500, 2000, 20261121))
    stops = int((evidence.max(axis=1) >= math.log(1 / 0.05)).sum())
    # at most 5 % in expectation; 123 would be 2.4 standard errors above
    assert stops <= 123
    assert stops > 0  # the test is not blind


def test_a_damaged_model_stops_after_a_share_of_the_items() -> None:
    evidence = log_e_value(*(path[:, 255::256] for path in paths(0.10, 0.04, 4096, 200, 1)))
    proven = evidence >= math.log(1 / 0.01)
    assert proven.any(axis=1).all()
    assert np.median(proven.argmax(axis=1) + 1) * 256 < 1600


def test_evidence_updated_by_look_equals_the_evidence_of_the_cumulative_counts() -> None:
    regressions, improvements = paths(0.10, 0.04, 600, 1, 3)
    evidence, seen = StoppingEvidence(0.01, 600), []
    for start in range(0, 600, 100):
        look = slice(start, start + 100)
        worse = np.diff(regressions[0], prepend=0)[look]
        better = np.diff(improvements[0], prepend=0)[look]
        evidence = evidence.update(1.0 - better, 1.0 - worse)
        seen.append((evidence.stopped, evidence.log_e_value))
    expected = log_e_value(regressions[0, 99::100], improvements[0, 99::100])
    np.testing.assert_allclose([value for _, value in seen], expected)
    assert [stop for stop, _ in seen] == list(expected >= math.log(100))


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
    st.integers(1, 50),
    st.integers(0, 2**31),
)
def test_every_item_is_in_exactly_one_look(items: list[int], every: int, seed: int) -> None:
    looks = split_into_looks(items, every, seed)
    for task, count in enumerate(items):
        assert sorted(item for look in looks for item in look[task]) == list(range(count))
    assert all(sum(map(len, look)) <= every + len(items) for look in looks)
    assert looks == split_into_looks(items, every, seed)


def test_the_order_is_random_and_every_look_has_a_share_of_each_task() -> None:
    first = split_into_looks([500, 300], 80, 0)[0]
    assert [len(items) for items in first] == [50, 30]
    assert first != split_into_looks([500, 300], 80, 1)[0]
    assert max(first[0]) > 250


def test_twelve_regressions_and_no_improvement_stop_at_alpha_1_percent() -> None:
    evidence = StoppingEvidence(0.01, 4000).update(np.ones(256), np.r_[np.zeros(12), np.ones(244)])
    assert evidence.stopped
    assert (evidence.items, evidence.regressions, evidence.improvements) == (256, 12, 0)


def item(name: str, prompt: str, choices: tuple[str, ...] = ()) -> Item:
    return Item(name, prompt, prompt, (), choices, None, ("x",), None)


def test_of_equal_prompts_in_all_tasks_the_first_that_is_evaluated_counts() -> None:
    one = [item("a0", "p"), item("a1", "q"), item("a2", "p"), item("a3", "p", ("yes", "no"))]
    two = [item("b0", "q"), item("b1", "r")]
    looks = [[[2], [0]], [[0, 1, 3], [1]]]
    assert first_of_each_prompt([one, two], looks) == [{"a2", "a3"}, {"b0", "b1"}]
