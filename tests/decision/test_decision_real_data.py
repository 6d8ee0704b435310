"""Answers of real quantised models, from file to verdict, compared with published counts and p-values."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from gate.config import DecisionSettings, TaskPolicy
from gate.decision import Decision, TaskResult, decide
from gate.importers import read_foreign
from gate.samples import PairedTask, Pairing, pair

# model, candidate, task, n, regressions, improvements, wrong to other wrong, exact one-sided p
PUBLISHED = [
    ("qwen2.5-1.5b-instruct", "int4", "arc", 1000, 68, 18, 25, 2.647e-08),
    ("qwen2.5-1.5b-instruct", "int4", "csqa", 986, 45, 37, 18, 0.2199),
    ("qwen2.5-1.5b-instruct", "int4", "mmlu", 975, 86, 43, 57, 9.597e-05),
    ("qwen2.5-1.5b-instruct", "int8", "arc", 1000, 5, 14, 9, 0.9904),
    ("qwen2.5-1.5b-instruct", "int8", "csqa", 986, 11, 15, 3, 0.8365),
    ("qwen2.5-1.5b-instruct", "int8", "mmlu", 975, 20, 22, 15, 0.678),
    ("llama-3.2-3b-instruct", "int4", "arc", 1000, 46, 33, 32, 0.08831),
    ("llama-3.2-3b-instruct", "int4", "csqa", 986, 38, 33, 15, 0.3177),
    ("llama-3.2-3b-instruct", "int4", "mmlu", 975, 63, 51, 43, 0.1514),
    ("llama-3.2-3b-instruct", "int8", "arc", 1000, 16, 13, 10, 0.3555),
    ("llama-3.2-3b-instruct", "int8", "csqa", 986, 19, 16, 9, 0.3679),
    ("llama-3.2-3b-instruct", "int8", "mmlu", 975, 39, 23, 19, 0.02795),
    ("phi-3.5-mini-instruct", "int4", "arc", 1000, 36, 20, 9, 0.02202),
    ("phi-3.5-mini-instruct", "int4", "csqa", 986, 25, 21, 10, 0.3294),
    ("phi-3.5-mini-instruct", "int4", "mmlu", 975, 46, 27, 31, 0.01721),
    ("phi-3.5-mini-instruct", "int8", "arc", 1000, 16, 13, 5, 0.3555),
    ("phi-3.5-mini-instruct", "int8", "csqa", 986, 29, 19, 8, 0.09671),
    ("phi-3.5-mini-instruct", "int8", "mmlu", 975, 28, 18, 27, 0.09196),
]
SMOL = "smollm2-135m-"
AT_CHANCE = {"bb_social_iqa": TaskPolicy(chance=0.0)}
"""Judge by the task although the baseline is at chance on it."""
HARNESS = [
    # candidate, metric, counts of goal_inference / social_iqa / step_inference, their p, pooled, max, Fisher, omnibus
    ("bf16-batch5", "acc", [(0, 0)] * 3, [1, 1, 1], 1, 1, 1, 1),
    ("bf16-batch5", "acc_norm", [(0, 1), (0, 0), (0, 0)], [1, 1, 1], 1, 1, 1, 1),
    ("bnb-int8", "acc", [(4, 5), (10, 3), (3, 2)], [0.746, 0.046, 0.5], 0.124, 0.094, 0.104, 0.126),
    ("bnb-int8", "acc_norm", [(5, 6), (8, 8), (10, 8)], [0.726, 0.598, 0.407], 0.5, 0.743, 0.598, 0.602),
]


@cache
def quantised(data: Path, model: str, candidate: str) -> tuple[Pairing, Decision]:
    folder = data / "quantized-llms"
    sides = [read_foreign(folder / f"{model}-{which}.csv") for which in ("fp16", candidate)]
    pairing = pair(*sides)
    return pairing, decide(pairing.tasks, DecisionSettings())


def of_task(pairing: Pairing, decision: Decision, task: str) -> tuple[PairedTask, TaskResult]:
    return (
        next(paired for paired in pairing.tasks if paired.task == task),
        next(result for result in decision.tasks if result.task == task),
    )


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: "-".join(row[:3]))
def test_counts_and_exact_p_are_as_published(
    shared_data: Path, row: tuple[str, str, str, int, int, int, int, float]
) -> None:
    model, candidate, task, n, regressions, improvements, other_wrong, p = row
    paired, result = of_task(*quantised(shared_data, model, candidate), task)
    assert (result.n, result.regressions, result.improvements) == (n, regressions, improvements)
    assert paired.changed_answers - regressions - improvements == other_wrong
    assert result.all_flip_rate == pytest.approx((regressions + improvements + other_wrong) / n)
    assert result.flip_rate == pytest.approx((regressions + improvements) / n)
    assert result.drop == pytest.approx((regressions - improvements) / n, abs=1e-12)
    assert result.baseline - result.candidate == pytest.approx(result.drop, abs=1e-12)
    assert result.p_exact == pytest.approx(p, rel=5e-4)
    assert result.drop_ci90[0] < result.drop < result.drop_ci90[1]


def test_interval_of_the_worst_task_is_as_documented(shared_data: Path) -> None:
    _, arc = of_task(*quantised(shared_data, "qwen2.5-1.5b-instruct", "int4"), "arc")
    assert arc.drop_ci90 == pytest.approx((0.03500, 0.06574), abs=1e-5)  # Tango's is .03541 to .06577
    assert arc.p_mid == pytest.approx(1.661e-08, rel=1e-3)
    assert arc.p_holm == pytest.approx(3 * arc.p_exact)


@pytest.mark.parametrize(
    ("model", "candidate", "verdict", "p"),
    [
        ("qwen2.5-1.5b-instruct", "int4", "FAIL", 1.7e-10),
        ("qwen2.5-1.5b-instruct", "int8", "PASS", 0.97),
        ("llama-3.2-3b-instruct", "int4", "PASS", 0.063),
        ("llama-3.2-3b-instruct", "int8", "PASS", 0.0508),
        ("phi-3.5-mini-instruct", "int4", "FAIL", 0.00364),
        ("phi-3.5-mini-instruct", "int8", "FAIL", 0.0364),
    ],
)
def test_the_verdicts_on_three_models_at_two_precisions(
    shared_data: Path, model: str, candidate: str, verdict: str, p: float
) -> None:
    _, decision = quantised(shared_data, model, candidate)
    assert decision.verdict == verdict
    assert decision.exit_code == (1 if verdict == "FAIL" else 0)
    assert decision.p_value == decision.aggregate.omnibus.p == pytest.approx(p, rel=0.01)


def test_only_tasks_that_closed_testing_rejects_are_named(shared_data: Path) -> None:
    _, decision = quantised(shared_data, "qwen2.5-1.5b-instruct", "int4")
    assert decision.reasons[0].endswith("Significant after adjustment for 3 tasks: arc, mmlu.")
    _, decision = quantised(shared_data, "phi-3.5-mini-instruct", "int4")
    assert [task.p_holm for task in decision.tasks if task.fails] == pytest.approx([0.0516, 0.0516], abs=1e-4)
    assert [task.task for task in decision.failed_tasks] == ["arc", "mmlu"]
    adjusted = [task.p_adjusted for task in decision.tasks]
    assert adjusted == pytest.approx([0.0353, 0.0286, 0.3294], abs=0.004)


@pytest.mark.parametrize("row", HARNESS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_harness_files_of_a_lossless_and_an_int8_candidate_pass(
    shared_data: Path,
    row: tuple[str, str, list[tuple[int, int]], list[float], float, float, float, float],
) -> None:
    candidate, metric, counts, raw, pooled, largest, fisher, omnibus = row
    folder = shared_data / "lm_eval"
    sides = [read_foreign(folder / f"{SMOL}{name}", metric=metric) for name in ("bf16", candidate)]
    decision = decide(pair(*sides).tasks, DecisionSettings(), policies=AT_CHANCE)
    assert [(task.regressions, task.improvements) for task in decision.tasks] == counts
    assert [task.metric for task in decision.tasks] == [metric] * 3
    assert [task.p_exact for task in decision.tasks] == pytest.approx(raw, abs=6e-4)
    aggregate = decision.aggregate
    p_values = (aggregate.pooled.p, aggregate.max.p, aggregate.fisher.p, aggregate.omnibus.p)
    assert p_values == pytest.approx((pooled, largest, fisher, omnibus), abs=6e-4)
    assert (decision.verdict, decision.exit_code) == ("PASS", 0)


def test_a_task_on_which_the_baseline_is_at_chance_makes_the_verdict_inconclusive(shared_data: Path) -> None:
    """SmolLM2-135M has 37.0% of 400 items of social_iqa right, and chance is 33.4%: p = .07."""
    folder = shared_data / "lm_eval"
    tasks = pair(*(read_foreign(folder / f"{SMOL}{name}", metric="acc") for name in ("bf16", "bnb-int8"))).tasks
    decision = decide(tasks, DecisionSettings(on_inconclusive="pass"))
    assert (decision.verdict, decision.exit_code) == ("INCONCLUSIVE", 3)
    (reason,) = decision.reasons
    assert reason.startswith("The baseline is at chance on bb_social_iqa (37.0% of 400 items, chance is 33.4%)")
    advisory = decide(tasks, DecisionSettings(), roles={"bb_social_iqa": "advisory"})
    assert (advisory.verdict, advisory.exit_code) == ("PASS", 0)


def test_one_task_below_alpha_among_three_does_not_fail(shared_data: Path) -> None:
    """int8 has 10 regressions and 3 improvements on social_iqa: p = .046 alone, .138 among three tasks."""
    folder = shared_data / "lm_eval"
    pairing = pair(
        read_foreign(folder / f"{SMOL}bf16", metric="acc"),
        read_foreign(folder / f"{SMOL}bnb-int8", metric="acc"),
    )
    worst = min(decide(pairing.tasks, DecisionSettings()).tasks, key=lambda task: task.p_exact)
    assert worst.p_exact < 0.05 < (worst.p_holm or 0)
    for rule in ("omnibus", "pooled", "max", "fisher", "holm"):
        assert decide(pairing.tasks, DecisionSettings(rule=rule), policies=AT_CHANCE).verdict == "PASS"
    alone = [task for task in pairing.tasks if task.task == worst.task]
    assert decide(alone, DecisionSettings()).verdict == "FAIL"
