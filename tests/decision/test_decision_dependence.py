"""Equal prompts, and clusters of one name, are one piece of evidence in everything that is reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from support.binary_results import answers, result_of

from gate.config import DecisionSettings
from gate.decision import Decision, decide
from gate.decision.dependence import joined, links_of
from gate.decision.noise import excess, noise_floor
from gate.decision.requirements import simultaneous_bound
from gate.decision.rows import Judged, evidence_of
from gate.decision.shared_units import shared_units
from gate.decision.wording import detectable_drop as in_words
from gate.importers.build import task_samples
from gate.report.curves import power_curves
from gate.samples import ModelSamples, PairedTask, pair
from gate.stats import detectable_drop, flip_rate_interval, mcnemar_exact

SETTINGS = DecisionSettings(draws=20_000)

Columns = Mapping[str, Sequence[str | None]]


def paired(
    scores: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    prompts: Columns | None = None,
    clusters: Columns | None = None,
) -> tuple[tuple[PairedTask, ...], tuple[str, ...]]:
    sides = []
    for side in (0, 1):
        tasks = {}
        for name, both in scores.items():
            items = len(both[side])
            columns: dict[str, Any] = {
                "item_id": [f"{name}-{n}" for n in range(items)],
                "score": list(both[side]),
                "target": ["x"] * items,
            }
            if prompts is not None:
                columns["prompt_hash"] = list(prompts[name])
            if clusters is not None:
                columns["cluster"] = list(clusters[name])
            tasks[name] = task_samples(name, "acc", columns)
        sides.append(ModelSamples("m", tasks))
    pairing = pair(*sides)
    return pairing.tasks, pairing.notes


def judged(pairs: Sequence[PairedTask], **settings: Any) -> Decision:
    return decide(pairs, SETTINGS.model_copy(update=settings))


def copies(prompts: int, of_each: int, lost: Sequence[int]) -> PairedTask:
    """Prompts that were asked several times, with the same answer each time."""
    asked = np.repeat(np.arange(prompts), of_each)
    after = np.where(np.isin(asked, lost), 0.0, 1.0)
    (task,), _ = paired({"t": ([1.0] * asked.size, after.tolist())}, {"t": [f"p{n}" for n in asked]})
    return task


def names(items: int, prefix: str = "p") -> list[str]:
    return [f"{prefix}{n}" for n in range(items)]


@pytest.mark.parametrize("settings", [{}, {"certify": 0.02}, {"margin": 0.01}])
def test_copies_of_one_prompt_are_blind_and_show_nothing(settings: dict[str, Any]) -> None:
    decision = judged([copies(1, 300, [])], **settings)
    (task,) = decision.tasks
    assert (decision.verdict, decision.exit_code) == ("INCONCLUSIVE", 3)
    assert decision.validity[0].message.startswith("The run is too small to show a loss: its 300 items count as 1")
    assert task.drop_ci90 == (-1.0, 1.0)
    assert task.drop_bound in (1.0, None), "no bound below 100 points"
    assert task.detectable_drop is decision.sensitivity.detectable_drop is None
    assert task.flip_rate_ci95 == pytest.approx((0.0, 0.975)), "one piece of evidence without a flip"


@pytest.mark.parametrize("settings", [{}, {"certify": 0.02}, {"margin": 0.01}])
def test_four_prompts_cannot_be_significant_however_often_they_are_asked(settings: dict[str, Any]) -> None:
    decision = judged([copies(4, 75, [0, 1])], **settings)
    (task,) = decision.tasks
    assert decision.verdict == "INCONCLUSIVE"
    assert "p is at least 0.0625" in decision.reasons[0]
    assert decision.aggregate.pooled.p >= 0.25
    low, high = task.drop_ci90
    assert -1.0 <= low < 0.0 < 0.5 < high <= 1.0
    exact = flip_rate_interval(2, 4)
    assert task.flip_rate_ci95 == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize(
    ("prompts", "of_each", "drop"),
    [
        (30, 10, 0.05),
        pytest.param(50, 2, 0.03, marks=pytest.mark.exhaustive),
        pytest.param(100, 3, 0.02, marks=pytest.mark.exhaustive),
    ],
)
def test_the_bound_is_below_the_true_drop_in_at_most_5_percent_of_runs(prompts: int, of_each: int, drop: float) -> None:
    """400 runs: two standard errors are 2.2 points."""
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(400):
        (task,) = joined([copies_of(rng.random(prompts) < drop, of_each)], {})
        bound = simultaneous_bound(Judged(task, "gating", evidence_of(task, 0)), SETTINGS, 1)
        assert bound is not None
        missed += bound < drop
    assert missed / 400 <= 0.05 + 0.022


def copies_of(lost: np.ndarray[Any, Any], of_each: int) -> PairedTask:
    """As `copies`, without the time that reading and pairing take."""
    asked = np.repeat(np.arange(lost.size), of_each)
    after = np.where(np.repeat(lost, of_each), 0.0, 1.0)
    table = task_samples("t", "acc", {"item_id": ["i"], "score": [1.0]}).table
    return PairedTask("t", "acc", table, table, np.ones(asked.size), after, True, prompts=asked)


def test_a_few_copies_leave_the_exact_p_value() -> None:
    """One changed item per cluster: the signs of the clusters are those of McNemar's test."""
    after = [0.0] * 9 + [1.0] * 91
    before = [1.0] * 7 + [0.0] * 2 + [1.0] * 91
    after[7:9] = [1.0, 1.0]
    prompts = [*names(95), *names(5)]  # the last five repeat the first five, of which each changed once
    (task,), _ = paired({"t": (before, after)}, {"t": prompts})
    assert judged([task]).p_value == pytest.approx(mcnemar_exact(7, 2).pvalue, rel=1e-9)


FIVE = ([1.0] * 100, [0.0] * 5 + [1.0] * 95)


def test_clusters_of_one_name_in_two_tasks_have_one_sign() -> None:
    pairs, notes = paired({"t1": FIVE, "t2": FIVE}, clusters={"t1": names(100), "t2": names(100)})
    decision = judged(pairs)
    assert decision.aggregate.pooled.p == pytest.approx(2.0**-5)
    assert decision.p_value == pytest.approx(2.0**-5, abs=0.004)
    assert notes == (
        "100 cluster name(s) occur in several tasks (p0, p1, p2, ...); clusters with equal names count as one. If they "
        "are unrelated, begin their names with the task's name.",
    )
    for task in decision.tasks:  # clusters of one item are items: the exact test, and the interval that inverts it
        assert (task.test, task.independent) == ("exact McNemar", True)
        assert task.p_exact <= 0.05
        assert task.drop_ci90[0] > 0.0


def test_clusters_named_after_their_task_are_independent() -> None:
    pairs, notes = paired({"t1": FIVE, "t2": FIVE}, clusters={"t1": names(100, "t1 p"), "t2": names(100, "t2 p")})
    assert notes == ()
    assert judged(pairs).aggregate.pooled.p == pytest.approx(2.0**-10)


@pytest.mark.parametrize("tasks", [2, 6])
def test_the_same_passages_in_several_tasks_are_the_evidence_of_one(tasks: int) -> None:
    before, after = [1.0] * 12 + [0.0] * 4 + [1.0] * 24, [0.0] * 12 + [1.0] * 4 + [1.0] * 24
    scores = {f"t{n}": (before, after) for n in range(tasks)}
    pairs, _ = paired(scores, clusters=dict.fromkeys(scores, names(40)))
    assert judged(pairs, rule="pooled").p_value == pytest.approx(mcnemar_exact(12, 4).pvalue)


def test_names_join_only_gating_tasks_and_items_without_a_name_stay_alone() -> None:
    pairs, _ = paired({"a": FIVE, "b": FIVE}, clusters={"a": ["x", "x", *[None] * 98], "b": ["x", *[None] * 99]})
    a, b = joined(pairs, {})
    assert a.shared is not None
    assert b.shared is not None
    assert (np.flatnonzero(a.shared >= 0).tolist(), np.flatnonzero(b.shared >= 0).tolist()) == ([0, 1], [0])
    assert all(task.shared is None for task in joined(pairs, {"b": "advisory"}))


def test_blindness_counts_names_once_over_all_tasks() -> None:
    """Four passages in each of two tasks: 2**-4 is above .05, 2**-8 would not be."""
    lost = ([1.0] * 4, [0.0] * 4)
    pairs, _ = paired({"a": lost, "b": lost}, clusters={"a": names(4), "b": names(4)})
    assert judged(pairs).verdict == "INCONCLUSIVE"
    apart, _ = paired({"a": lost, "b": lost}, clusters={"a": names(4, "a"), "b": names(4, "b")})
    assert judged(apart).verdict == "FAIL"


TEN = ([1.0] * 10 + [0.0] * 10 + [1.0] * 390 + [0.0] * 90, [0.0] * 10 + [1.0] * 10 + [1.0] * 390 + [0.0] * 90)


def test_the_detectable_drop_of_two_tasks_with_the_same_prompts_is_that_of_one() -> None:
    pairs, _ = paired({"t1": TEN, "t2": TEN}, {"t1": names(500), "t2": names(500)})
    decision = judged(pairs)
    assert decision.sensitivity.linked
    assert decision.sensitivity.detectable_drop == pytest.approx(detectable_drop(500, 0.04), abs=0.001)
    assert in_words(decision).startswith("A true drop of 3.1 points on every task")
    assert in_words(decision).endswith("80% power (an approximation).")


def test_tasks_that_share_prompts_have_no_power_curve() -> None:
    result = result_of({"a": answers(9, 6, 200), "b": answers(8, 7, 200)})
    assert power_curves(result) is not None
    linked = result.sensitivity.model_copy(update={"linked": True})
    assert power_curves(result.model_copy(update={"sensitivity": linked})) is None


def test_without_common_prompts_the_tasks_are_not_linked() -> None:
    pairs, _ = paired({"t1": TEN, "t2": TEN}, {"t1": names(500), "t2": names(500, "q")})
    sensitivity = judged(pairs).sensitivity
    assert not sensitivity.linked
    assert sensitivity.detectable_drop == pytest.approx(0.0208, abs=0.0005)


def test_common_prompts_that_never_flip_together_leave_the_test_of_independent_tasks() -> None:
    first = ([1.0] * 100, [0.0] * 8 + [1.0] * 92)
    second = ([1.0] * 100, [1.0] * 92 + [0.0] * 8)
    pairs, _ = paired({"a": first, "b": second}, {"a": names(100), "b": names(100)})
    apart = judged(paired({"a": first, "b": second})[0])
    assert links_of(joined(pairs, {}), 0) is None
    assert links_of(joined(pairs, {}), 0, margin=True) is not None
    assert judged(pairs).p_value == apart.p_value


SHIFT = ([1.0] * 16 + [0.0] * 5 + [1.0] * 479, [0.0] * 16 + [1.0] * 5 + [1.0] * 479)


def test_the_noise_of_the_same_prompts_in_two_tasks_is_that_of_one() -> None:
    pairs, _ = paired({"t1": SHIFT, "t2": SHIFT}, {"t1": names(500), "t2": names(500)})
    floor, _ = noise_floor(pairs, SETTINGS, {}, 0)
    alone = 2.0 * mcnemar_exact(16, 5).pvalue
    assert alone == pytest.approx(0.0266, abs=1e-4)
    assert floor.p_value == pytest.approx(alone, rel=0.2)
    exact = flip_rate_interval(21, 500)
    assert floor.flip_rate_ci95 == pytest.approx((exact.low, exact.high), rel=0.05)


def test_excess_flips_of_the_same_prompts_in_two_tasks_are_those_of_one() -> None:
    same = ([1.0] * 500, [1.0] * 500)
    prompts = {"t1": names(500), "t2": names(500)}
    noise, _ = paired({"t1": same, "t2": same}, prompts)
    moved, _ = paired({"t1": FIVE500, "t2": FIVE500}, prompts)
    result = excess(moved, noise, "candidate")
    assert (result.candidate_alone, result.p_value) == (10, pytest.approx(2.0**-5))


FIVE500 = ([1.0] * 500, [0.0] * 5 + [1.0] * 495)


def test_several_candidates_share_the_units_of_common_names() -> None:
    pairs, _ = paired({"a": FIVE, "b": FIVE}, clusters={"a": names(100), "b": names(100)})
    tasks = [Judged(task, "gating", evidence_of(task, 0)) for task in joined(pairs, {})]
    (block,) = shared_units([tasks, tasks])
    assert len(block.differences) == 100
    assert block.differences[np.any(block.differences != 0.0, axis=1)].tolist() == [[1.0] * 4] * 5
