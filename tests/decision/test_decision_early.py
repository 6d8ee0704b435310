"""The decision after early stopping: FAIL if the e-process stopped the run, else a test at the remaining alpha."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from gate.config import DecisionSettings
from gate.decision import decide
from gate.decision.run_sections import EarlyStopping
from gate.importers.build import task_samples
from gate.samples import ModelSamples, PairedTask, pair
from gate.stats import log_e_value


def pairs(worse: int, better: int, items: int) -> tuple[PairedTask, ...]:
    def side(right: list[bool]) -> ModelSamples:
        columns = {
            "item_id": [str(n) for n in range(items)],
            "score": [float(correct) for correct in right],
            "target": ["0"] * items,
            "output": ["0" if correct else "1" for correct in right],
        }
        return ModelSamples("m", {"t": task_samples("t", "acc", columns)})

    rest = items - worse - better
    return pair(
        side([True] * worse + [False] * better + [True] * rest),
        side([False] * worse + [True] * better + [True] * rest),
    ).tasks


def test_final_test_uses_the_remaining_alpha() -> None:
    settings = DecisionSettings(alpha=0.05)
    early = EarlyStopping(alpha=0.02, log_e_value=0.0, stopped=False, items=400, total=400)
    # 5 of 5 flips: p = 1/32 = .031, between .03 and .05
    assert decide(pairs(5, 0, 400), settings).verdict == "FAIL"
    late = decide(pairs(5, 0, 400), settings, early=early)
    assert late.verdict == "PASS"
    assert late.alpha == pytest.approx(0.03)
    assert late.early_stop is not None
    assert not late.early_stop.stopped


def test_stopped_run_fails_and_names_its_items() -> None:
    early = EarlyStopping(alpha=0.01, log_e_value=log_e_value(12, 0), stopped=True, items=256, total=4000)
    decision = decide(pairs(12, 0, 256), DecisionSettings(), early=early)
    assert decision.verdict == "FAIL"
    assert "stopped after 256 of 4,000 items" in decision.reasons[0]
    assert decision.p_value == pytest.approx(math.exp(-log_e_value(12, 0)))


def test_after_a_stop_a_task_fails_only_if_the_e_value_of_every_set_reaches_the_threshold() -> None:
    early = EarlyStopping(alpha=0.01, log_e_value=log_e_value(34, 9), stopped=True, items=400, total=4000)
    both = [replace(task, task=name) for name, (task,) in (("bad", pairs(30, 4, 200)), ("same", pairs(4, 5, 200)))]
    decision = decide(both, DecisionSettings(), early=early)
    assert decision.p_value <= 0.01
    assert [task.task for task in decision.failed_tasks] == ["bad"]
    bad, same = decision.tasks
    assert bad.p_adjusted == pytest.approx(decision.p_value)
    assert same.p_adjusted == 1.0


def test_a_run_without_a_stop_marks_tasks_at_the_remaining_level() -> None:
    early = EarlyStopping(alpha=0.02, log_e_value=0.0, stopped=False, items=400, total=400)
    (task,) = decide(pairs(6, 0, 400), DecisionSettings(alpha=0.05), early=early).failed_tasks
    assert task.p_adjusted == pytest.approx(1 / 64)
    assert decide(pairs(5, 0, 400), DecisionSettings(alpha=0.05), early=early).failed_tasks == []
