"""The noise floor of two runs, the two-sided test of an environment shift, and the table of statistics.md in small."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support.binary_results import answered, answers

from gate.config import DecisionSettings
from gate.decision.noise import Control, noise_floor
from gate.decision.noise_wording import control_sections
from gate.samples import ModelSamples, PairedTask, pair
from gate.stats import mcnemar_exact

SETTINGS = DecisionSettings(rule="pooled", draws=1_000)


def runs(**tasks: tuple[list[bool], list[bool]]) -> tuple[PairedTask, ...]:
    sides = [
        ModelSamples("m", {name: answered(name, scores[side]) for name, scores in tasks.items()}) for side in (0, 1)
    ]
    return pair(*sides).tasks


def test_the_floor_counts_the_flips_of_gating_tasks() -> None:
    pairs = runs(one=answers(5, 2, 100), two=answers(1, 1, 60), aside=answers(20, 0, 40))
    floor, tasks = noise_floor(pairs, SETTINGS, {"aside": "advisory"}, 0)
    assert (floor.items, floor.flips) == (160, 9)
    assert floor.flip_rate == 9 / 160
    assert floor.drop == pytest.approx(3 / 160)
    assert [(task.task, task.flips, task.role) for task in tasks] == [
        ("one", 7, "gating"),
        ("two", 2, "gating"),
        ("aside", 20, "advisory"),
    ]


@pytest.mark.parametrize(("b", "c"), [(30, 8), (8, 30), (10, 10), (0, 0)])
def test_the_shift_is_tested_in_both_directions(b: int, c: int) -> None:
    floor, _ = noise_floor(runs(one=answers(b, c, 200)), SETTINGS, {}, 0)
    expected = min(1.0, 2 * min(mcnemar_exact(b, c).pvalue, mcnemar_exact(c, b).pvalue))
    assert floor.p_value == pytest.approx(expected)
    shifted = Control(kind="stack", differences={}, floor=floor).shifted
    assert shifted == (expected <= 0.01)
    # two runs on one stack have no shift to explain
    assert not Control(kind="repeat", differences={}, floor=floor).shifted


def test_a_shift_is_named_in_the_sentence_and_its_absence_too() -> None:
    floors = [noise_floor(runs(one=answers(b, 5, 200)), SETTINGS, {}, 0)[0] for b in (40, 6)]
    texts = [
        control_sections(Control(kind="stack", differences={"dtype": ("a", "b")}, floor=floor))["Environment shift"]
        for floor in floors
    ]
    assert texts[0].startswith("The stack alone changed the baseline's score. Score, first run minus second: +17.50")
    assert texts[1].startswith("None shown")


def study() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "noise.py"
    spec = importlib.util.spec_from_file_location("noise_study", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_lossless_candidate_fails_against_a_cache_of_another_stack_and_not_against_the_control() -> None:
    simulations = 400
    rates = study().simulate(simulations, drift=0.03, damage=0.0, seed=11)
    assert rates["cache"] == pytest.approx(0.72, abs=0.07)
    bound = 0.05 + 2 * np.sqrt(0.05 * 0.95 / simulations)
    assert rates["control"] <= bound
    assert rates["moved"] <= bound


def test_the_control_finds_a_loss_that_a_better_stack_hides() -> None:
    rates = study().simulate(200, drift=-0.06, damage=0.06, seed=3)
    assert rates["control"] > 0.9
    assert rates["cache"] < 0.1


def test_an_environment_shift_is_rarely_reported_where_there_is_none() -> None:
    rates = study().simulate(400, drift=0.0, damage=0.06, seed=4)
    assert rates["shift"] <= 0.01 + 2 * np.sqrt(0.01 * 0.99 / 400)
