"""Stopping early: the error rate holds however often the flips are looked at, and a damaged model stops soon."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.config import DecisionSettings
from gate.decision import decide
from gate.decision.early import Watch, looks
from gate.importers.build import task_samples
from gate.samples import ModelSamples, PairedTask, pair
from gate.stats import log_e_value


def paths(regress: float, improve: float, items: int, runs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative regressions and improvements, shape (runs, items)."""
    kinds = np.random.default_rng(seed).choice(
        [0, 1, 2], size=(runs, items), p=[1 - regress - improve, regress, improve]
    )
    return np.cumsum(kinds == 1, axis=1), np.cumsum(kinds == 2, axis=1)


def test_looking_after_every_item_keeps_its_part_of_alpha() -> None:
    evidence = log_e_value(*paths(0.05, 0.05, 500, 2000, 20261121))
    stops = int((evidence.max(axis=1) >= math.log(1 / 0.05)).sum())
    # at most 5 % in expectation; 123 would be 2.4 standard errors above
    assert stops <= 123
    assert stops > 0  # the test is not blind


def test_a_damaged_model_is_stopped_after_part_of_the_items() -> None:
    evidence = log_e_value(*(path[:, 255::256] for path in paths(0.10, 0.04, 4096, 200, 1)))
    proven = evidence >= math.log(1 / 0.01)
    assert proven.any(axis=1).all()
    assert np.median(proven.argmax(axis=1) + 1) * 256 < 1600


def test_a_watch_sees_what_the_sums_say() -> None:
    regressions, improvements = paths(0.10, 0.04, 600, 1, 3)
    watch, seen = Watch(0.01, 600), []
    for start in range(0, 600, 100):
        part = slice(start, start + 100)
        worse = np.diff(regressions[0], prepend=0)[part]
        better = np.diff(improvements[0], prepend=0)[part]
        seen.append((watch.look(1.0 - better, 1.0 - worse), watch.log_e_value))
    expected = log_e_value(regressions[0, 99::100], improvements[0, 99::100])
    np.testing.assert_allclose([value for _, value in seen], expected)
    assert [stop for stop, _ in seen] == list(expected >= math.log(100))


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
    st.integers(1, 50),
    st.integers(0, 2**31),
)
def test_each_item_is_looked_at_once(items: list[int], every: int, seed: int) -> None:
    parts = looks(items, every, seed)
    for task, count in enumerate(items):
        assert sorted(item for look in parts for item in look[task]) == list(range(count))
    assert all(sum(map(len, look)) <= every + len(items) for look in parts)
    assert parts == looks(items, every, seed)


def test_the_order_is_random_and_every_look_has_some_of_each_task() -> None:
    first = looks([500, 300], 80, 0)[0]
    assert [len(part) for part in first] == [50, 30]
    assert first != looks([500, 300], 80, 1)[0]
    assert max(first[0]) > 250


def pairs(worse: int, better: int, items: int) -> tuple[PairedTask, ...]:
    def side(right: list[bool]) -> ModelSamples:
        columns = {
            "item_id": [str(n) for n in range(items)],
            "score": [float(one) for one in right],
            "target": ["0"] * items,
            "output": ["0" if one else "1" for one in right],
        }
        return ModelSamples("m", {"t": task_samples("t", "acc", columns)})

    rest = items - worse - better
    return pair(
        side([True] * worse + [False] * better + [True] * rest),
        side([False] * worse + [True] * better + [True] * rest),
    ).tasks


def test_the_final_test_has_the_rest_of_alpha() -> None:
    settings = DecisionSettings(alpha=0.05)
    watch = Watch(0.02, 400)
    watch.look(np.ones(400), np.ones(400))
    # 5 of 5 flips: p = 1/32 = .031, between .03 and .05
    assert decide(pairs(5, 0, 400), settings).verdict == "FAIL"
    late = decide(pairs(5, 0, 400), settings, early=watch.found)
    assert late.verdict == "PASS"
    assert late.alpha == pytest.approx(0.03)
    assert late.early_stop is not None
    assert not late.early_stop.stopped


def test_a_stopped_run_fails_and_says_what_it_saved() -> None:
    watch = Watch(0.01, 4000)
    assert watch.look(np.ones(256), np.r_[np.zeros(12), np.ones(244)])
    decision = decide(pairs(12, 0, 256), DecisionSettings(), early=watch.found)
    assert decision.verdict == "FAIL"
    assert "stopped after 256 of 4,000 items" in decision.reasons[0]
    assert decision.p_value == pytest.approx(math.exp(-log_e_value(12, 0)))
