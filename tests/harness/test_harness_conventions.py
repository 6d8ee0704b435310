"""Conventions of LM Evaluation Harness: the picked choice, the direction of a metric, defaults and file names."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.commands import run_python

import gate.common.lm_eval
from gate.common.lm_eval import (
    DEFAULT_FILTERS,
    DEFAULT_METRICS,
    is_results_name,
    lower_is_better,
    pick_choice,
    preferred,
    split_samples_name,
    without_addresses,
)

CHOICES = st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=6, unique=True)
seeded = settings(max_examples=150, deadline=None, derandomize=True)


@given(CHOICES, st.data())
@seeded
def test_the_picked_choice_is_that_of_lm_eval(choices: list[str], data: st.DataObject) -> None:
    # few distinct values, so that ties occur
    value = st.floats(-50, 0) | st.sampled_from([-3.0, -6.0, -12.0])
    values = st.lists(value, min_size=len(choices), max_size=len(choices))
    conditioned, unconditioned = np.array(data.draw(values)), np.array(data.draw(values))
    characters = np.array([float(len(choice)) for choice in choices])
    utf8 = np.array([float(len(choice.encode())) for choice in choices])
    assert pick_choice(conditioned.tolist(), choices, "acc") == np.argmax(conditioned)
    assert pick_choice(conditioned.tolist(), choices, "acc_norm") == np.argmax(conditioned / characters)
    assert pick_choice(conditioned.tolist(), choices, "acc_bytes") == np.argmax(conditioned / utf8)
    gain = pick_choice(conditioned.tolist(), choices, "acc_mutual_info", unconditioned.tolist())
    assert gain == np.argmax(conditioned - unconditioned)


def test_acc_norm_divides_by_characters_and_ties_go_to_the_first_choice() -> None:
    assert pick_choice([-2.0, -3.0], ["a", "éé"], "acc") == 0
    assert pick_choice([-2.0, -3.0], ["a", "éé"], "acc_norm") == 1
    assert pick_choice([-4.0, -2.0], ["éé", "a"], "acc_norm") == 0
    assert pick_choice([-1.0, -1.0], ["a", "b"], "acc") == 0


def test_minus_infinity_never_wins_over_a_number() -> None:
    assert pick_choice([float("-inf"), -900.0], ["a", "b"], "acc") == 1


@pytest.mark.parametrize("metric", ["acc_norm", "acc_bytes"])
def test_an_empty_choice_is_never_picked(metric: str) -> None:
    assert pick_choice([-0.1, -90.0], ["", "b"], metric) == 1


def test_every_other_metric_picks_the_most_likely_choice() -> None:
    assert pick_choice([-2.0, -1.0], ["a" * 9, "b"], "f1") == 1
    assert pick_choice([-2.0, -1.0], ["a", "b"], "acc_mutual_info") == 1


@pytest.mark.parametrize("metric", ["acc_norm", "acc_bytes"])
def test_one_log_likelihood_per_choice_is_required(metric: str) -> None:
    with pytest.raises(ValueError, match="zip"):
        pick_choice([0.0], ["a", "b"], metric)


def test_a_declared_direction_overrides_the_one_known_by_name() -> None:
    assert lower_is_better("ter")
    assert not lower_is_better("ter", declared=True)
    assert not lower_is_better("acc")
    assert not lower_is_better("surprise")
    assert lower_is_better("surprise", declared=False)


def test_binary_metrics_and_the_strict_filter_are_preferred() -> None:
    assert preferred(["acc_norm", "f1", "acc"], DEFAULT_METRICS) == "acc"
    assert preferred(["flexible-extract", "strict-match"], DEFAULT_FILTERS) == "strict-match"
    assert preferred(["f1", "bleu"], DEFAULT_METRICS) is None


def test_the_names_of_results_files_are_known() -> None:
    stamp = split_samples_name("samples_arc_easy_2026-01-02T03-04-05.678")[1]
    assert is_results_name(f"results_{stamp}.json")
    assert not is_results_name("results.jsonl")


def test_memory_addresses_are_removed_from_a_configuration() -> None:
    assert without_addresses("<function f at 0x7f1c> and x at 0") == "<function f> and x at 0"


def test_the_examples_in_the_docstrings() -> None:
    result = doctest.testmod(gate.common.lm_eval)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_conventions_import_no_large_package() -> None:
    code = "import sys, gate.common.lm_eval; assert not {'lm_eval', 'torch', 'scipy', 'numpy', 'pydantic'} & set(sys.modules)"
    assert run_python(code).code == 0
