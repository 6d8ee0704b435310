"""Items with equal prompts are found, within and across tasks, and form one cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.common.canonical import text_digest
from gate.importers.build import task_samples
from gate.samples import ModelSamples, PairedTask, Pairing, pair
from gate.samples.duplicates import join_duplicates


def side(
    tasks: dict[str, list[str | None]], lost: set[tuple[str, int]] | None = None, **more: list[Any]
) -> ModelSamples:
    samples = {}
    for name, prompts in tasks.items():
        columns: dict[str, Any] = {
            "item_id": [f"{name}-{n}" for n in range(len(prompts))],
            "score": [float((name, n) not in (lost or set())) for n in range(len(prompts))],
            "prompt_hash": [None if prompt is None else text_digest(prompt) for prompt in prompts],
            "target": ["x"] * len(prompts),
        }
        samples[name] = task_samples(name, "acc", {**columns, **more})
    return ModelSamples("m", samples)


def paired(tasks: dict[str, list[str | None]], lost: set[tuple[str, int]] | None = None, **more: list[Any]) -> Pairing:
    return pair(side(tasks, **more), side(tasks, lost, **more))


def members(tasks: list[PairedTask]) -> set[frozenset[tuple[str, int]]]:
    """Return the clusters over all tasks as sets of (task, item)."""
    found: dict[Any, set[tuple[str, int]]] = {}
    for task in tasks:
        for item in range(task.n):
            if task.shared is not None and task.shared[item] >= 0:
                key: Any = int(task.shared[item])
            else:
                key = (task.task, item if task.clusters is None else int(task.clusters[item]))
            found.setdefault(key, set()).add((task.task, item))
    return {frozenset(items) for items in found.values()}


def brute_force(tasks: dict[str, list[str | None]], clusters: dict[str, list[str]]) -> set[frozenset[tuple[str, int]]]:
    """Join items with equal prompts, and items of a task in one cluster, until nothing changes."""
    items = [(task, n) for task, prompts in tasks.items() for n in range(len(prompts))]
    groups = {item: {item} for item in items}
    for a in items:
        for b in items:
            same_prompt = tasks[a[0]][a[1]] == tasks[b[0]][b[1]] is not None
            same_cluster = a[0] == b[0] and clusters[a[0]][a[1]] == clusters[b[0]][b[1]] != ""
            if (same_prompt or same_cluster) and groups[a] is not groups[b]:
                joined = groups[a] | groups[b]
                for item in joined:
                    groups[item] = joined
    return {frozenset(group) for group in groups.values()}


ITEMS = st.lists(
    st.tuples(st.sampled_from([*"pqrstu", None]), st.sampled_from(["", "", "1", "2"])), min_size=1, max_size=8
)


@given(st.tuples(ITEMS, ITEMS, ITEMS))
@settings(deadline=None, max_examples=150)
def test_the_clusters_are_those_of_a_search_over_all_pairs(
    drawn: tuple[list[tuple[str | None, str]], ...],
) -> None:
    tasks = {f"t{n}": [prompt for prompt, _ in items] for n, items in enumerate(drawn)}
    clusters = {f"t{n}": [cluster for _, cluster in items] for n, items in enumerate(drawn)}
    pairs = [
        replace(task, clusters=_numbers(clusters[task.task]) if any(clusters[task.task]) else None)
        for task in paired(tasks).tasks
    ]
    assert members(join_duplicates(pairs)) == brute_force(tasks, clusters)


def _numbers(names: list[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
    unique = [name or f"alone {n}" for n, name in enumerate(names)]
    return np.unique(unique, return_inverse=True)[1].astype(np.int64)


def test_the_note_counts_the_items_that_repeat_another() -> None:
    pairing = paired({"a": ["p", "p", "p", "q"], "b": ["q", "r"]})
    (note,) = pairing.notes
    assert note.startswith("3 of 6 items repeat the prompt of another item")
    assert paired({"a": ["p", "q"], "b": ["r"]}).notes == ()


@pytest.mark.parametrize("prompts", [[None, None, None], ["", "", ""]])
def test_unknown_and_empty_prompts_are_not_equal(prompts: list[str | None]) -> None:
    pairing = paired({"a": prompts})
    assert (pairing.notes, pairing.tasks[0].prompts) == ((), None)


def test_equal_texts_with_other_choices_or_another_question_are_other_prompts() -> None:
    tasks: dict[str, list[str | None]] = {"a": ["p", "p", "p"]}
    assert paired(tasks, choices=[["x", "y"], ["x", "z"], ["x", "w"]]).notes == ()
    assert paired(tasks, prompt=["one", "two", "three"]).notes == ()
    assert paired(tasks, choices=[["x", "y"]] * 3, prompt=["one"] * 3).notes != ()


def test_equal_texts_with_several_targets_are_not_all_that_the_model_saw() -> None:
    """Questions on pictures: one text, many pictures."""
    assert paired({"a": ["what is this?"] * 3}, target=["cat", "dog", "cow"]).notes == ()


def test_hashes_of_any_form_are_compared() -> None:
    columns = {"item_id": ["x", "y", "z"], "score": [1.0] * 3, "prompt_hash": ["1", "22", "1"]}
    sides = [ModelSamples("m", {"a": task_samples("a", "acc", columns)})] * 2
    (task,) = pair(*sides).tasks
    assert task.prompts is not None
    assert task.prompts.tolist() == [0, -1, 0]


def test_equal_prompts_are_one_cluster_whether_their_items_changed_or_not() -> None:
    tasks: dict[str, list[str | None]] = {"a": ["p", "p", "q", "q", "r"]}
    for lost in (set(), {("a", 0), ("a", 2)}, {("a", 0), ("a", 1), ("a", 2)}):
        whole = join_duplicates(paired(tasks, lost).tasks)[0].clusters
        assert whole is not None
        assert whole.tolist() == [0, 0, 1, 1, 2]


def test_clusters_of_one_item_are_independent_items() -> None:
    (task,) = paired({"a": ["p", "q", "r"]}).tasks
    assert join_duplicates([replace(task, clusters=np.arange(3))])[0].clusters is None
