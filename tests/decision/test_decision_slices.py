"""Slices: how fields are cut, the correction over all slices, and their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.decision.slices import MOST_VALUES, cut, slice_results
from gate.importers.build import task_samples
from gate.samples import ModelSamples, PairedTask, pair
from gate.stats import holm, mcnemar_exact


def paired(name: str, before: list[int], after: list[int], clusters: list[str] | None = None) -> PairedTask:
    columns = {"item_id": [f"{name}{n}" for n in range(len(before))], "target": ["x"] * len(before), "output": None}
    if clusters is not None:
        columns["cluster"] = clusters
    sides = [
        ModelSamples(side, {name: task_samples(name, "acc", {**columns, "score": list(map(float, scores))})})
        for side, scores in (("base", before), ("cand", after))
    ]
    return pair(*sides).tasks[0]


def test_text_is_cut_by_value_most_frequent_first() -> None:
    slices = cut(["de", "en", "en", None, "", "fr", "en", "de"])
    assert {label: rows.tolist() for label, rows in slices.items()} == {
        "en": [1, 2, 6],
        "de": [0, 7],
        "fr": [5],
        "(none)": [3, 4],
    }
    assert list(slices)[:2] == ["en", "de"]


def test_rare_values_form_one_slice() -> None:
    slices = cut([f"v{n}" for n in range(MOST_VALUES + 5)])
    assert len(slices) == MOST_VALUES + 1
    assert len(slices["(other)"]) == 5


def test_numbers_are_cut_at_their_quartiles_also_as_text() -> None:
    expected = {"up to 3": 3, "above 3 to 6": 3, "above 6 to 9": 3, "above 9": 3}
    for values in (list(range(1, 13)), [str(n) for n in range(1, 13)]):
        assert {label: len(rows) for label, rows in cut(values).items()} == expected


@pytest.mark.parametrize("start", [1_700_000_000, 10_000_000.25, 0.1234567, 1e-9, -123456789])
def test_ranges_of_near_numbers_are_told_apart(start: float) -> None:
    """Six digits would join the middle two quarters."""
    slices = cut([start * (1 + k * 1e-8) for k in range(40)])
    assert [len(rows) for rows in slices.values()] == [10] * 4


def test_missing_values_are_null_nan_and_blank() -> None:
    values: list[object] = [None, float("nan"), "", "  ", 1, 2, 3.5, 4, 5, 6]
    assert {label: len(rows) for label, rows in cut(values).items()} == {
        "up to 2": 2,
        "above 2 to 3.5": 1,
        "above 3.5 to 5": 2,
        "above 5": 1,
        "(none)": 4,
    }


def test_a_slice_of_one_item_has_its_test() -> None:
    one = slice_results([paired("t", [1, 1, 1], [0, 1, 1])], {"t": {"f": {"t0": "a", "t1": "b"}}})
    assert {row.value: (row.n, row.p) for row in one} == {"a": (1, 0.5), "b": (1, 1.0), "(none)": (1, 1.0)}
    assert {row.p_holm for row in one} == {1.0}


def test_few_numbers_and_truth_values_are_cut_by_value() -> None:
    assert set(cut([1, 2, 1, 4])) == {"1", "2", "4"}
    assert set(cut([True, False, True])) == {"True", "False"}


def test_ties_stay_together() -> None:
    assert {label: len(rows) for label, rows in cut([7] * 10 + [1, 2, 3, 8, 9]).items()} == {
        "up to 7": 13,
        "above 7": 2,
    }


@given(st.lists(st.one_of(st.none(), st.integers(-5, 50), st.text(max_size=2), st.booleans()), min_size=1, max_size=60))
def test_every_item_is_in_exactly_one_slice(values: list[object]) -> None:
    slices = cut(values)
    rows = np.concatenate(list(slices.values()))
    assert sorted(rows.tolist()) == list(range(len(values)))
    label_of = {row: label for label, part in slices.items() for row in part.tolist()}
    for first, one in enumerate(values):
        assert all(label_of[first] == label_of[k] for k, other in enumerate(values) if str(other) == str(one))


def test_slices_are_tested_and_corrected_over_all_tasks_worst_first() -> None:
    a = paired("a", [1] * 12 + [0] * 2 + [1] * 6, [0] * 9 + [1] * 5 + [1] * 6)
    b = paired("b", [1] * 8, [0, 0, 1, 1, 1, 1, 1, 1])
    language = {f"a{n}": "en" if n < 14 else "de" for n in range(20)}
    kind = {f"b{n}": "x" if n < 2 else "y" for n in range(8)}
    results = slice_results([a, b], {"a": {"language": language}, "b": {"kind": kind}})
    assert [(row.task, row.name, row.value) for row in results[:2]] == [("a", "language", "en"), ("b", "kind", "x")]
    worst = results[0]
    assert (worst.n, worst.regressions, worst.improvements) == (14, 9, 2)
    assert worst.p == pytest.approx(mcnemar_exact(9, 2).pvalue)
    assert worst.drop == pytest.approx(7 / 14)
    adjusted = holm([mcnemar_exact(9, 2).pvalue, 1.0, mcnemar_exact(2, 0).pvalue, 1.0])
    assert [row.p_holm for row in results] == pytest.approx(sorted(adjusted.tolist()))


def test_clusters_flip_together_in_a_slice() -> None:
    pairing = paired("a", [1] * 8, [0] * 8, clusters=[str(n // 4) for n in range(8)])
    (row,) = slice_results([pairing], {"a": {"kind": {f"a{n}": "x" for n in range(8)}}})
    assert row.p == pytest.approx(1 / 4)


def test_tasks_without_slices_give_no_rows() -> None:
    assert slice_results([paired("a", [1], [0])], {}) == []


def test_the_family_of_slices_keeps_its_level_under_the_null() -> None:
    """200 runs of a task with 8 slices in two fields: any adjusted p at .05 in at most 5 % plus two standard errors."""
    generator = np.random.default_rng(2)
    values = {
        "t": {
            "one": {f"t{n}": str(n % 4) for n in range(160)},
            "two": {f"t{n}": str(n // 40) for n in range(160)},
        }
    }
    hits = 0
    for _ in range(200):
        flips = generator.random(160) < 0.3
        first = generator.integers(0, 2, 160)
        second = np.where(flips, 1 - first, first)
        results = slice_results([paired("t", first.tolist(), second.tolist())], values)
        hits += min(row.p_holm for row in results) <= 0.05
    assert hits / 200 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
