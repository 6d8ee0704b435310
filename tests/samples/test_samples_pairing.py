"""Samples are paired by item, in any row order; samples that are not comparable are refused."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.errors import SampleError
from gate.importers.build import task_samples
from gate.samples import ModelSamples, PairedTask, TaskSamples, pair

Row = dict[str, Any]


def samples(
    rows: list[Row], task: str = "facts", metric: str = "acc", facets: dict[str, str] | None = None
) -> TaskSamples:
    """Build samples from rows, of which only `item_id` is required."""
    default = {"score": 1.0, "output": "a", "target": "a", "repeat": 0}
    names = list(dict.fromkeys([*default, *(name for row in rows for name in row)]))
    columns = {name: [row.get(name, default.get(name)) for row in rows] for name in names}
    if not rows:
        columns["item_id"] = []
    return task_samples(task, metric, columns, facets)


def side(*tasks: TaskSamples, label: str = "model", notes: tuple[str, ...] = ()) -> ModelSamples:
    return ModelSamples(label, {one.task: one for one in tasks}, {}, notes)


def pair_one(a: TaskSamples, b: TaskSamples, **options: Any) -> PairedTask:
    (paired,) = pair(side(a), side(b), **options).tasks
    return paired


def refused(a: TaskSamples, b: TaskSamples, **options: Any) -> str:
    with pytest.raises(SampleError) as caught:
        pair(side(a), side(b), **options)
    return str(caught.value)


def rows_of(scores: list[float], **columns: list[Any]) -> list[Row]:
    return [
        {
            "item_id": f"i{number}",
            "score": score,
            **{name: values[number] for name, values in columns.items()},
        }
        for number, score in enumerate(scores)
    ]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from("xyz")), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
)
def test_row_order_does_not_matter(answers: list[tuple[bool, bool, str]], shuffler: random.Random) -> None:
    a = rows_of([float(right) for right, _, _ in answers], cluster=[c for _, _, c in answers])
    b = rows_of([float(right) for _, right, _ in answers], cluster=[c for _, _, c in answers])
    straight = pair_one(samples(a), samples(b))
    shuffled_a, shuffled_b = list(a), list(b)
    shuffler.shuffle(shuffled_a)
    shuffler.shuffle(shuffled_b)
    shuffled = pair_one(samples(shuffled_a), samples(shuffled_b))
    assert shuffled.regressions == straight.regressions == sum(x and not y for x, y, _ in answers)
    assert shuffled.improvements == straight.improvements == sum(y and not x for x, y, _ in answers)
    assert shuffled.baseline.column("item_id").equals(shuffled.candidate.column("item_id"))

    def by_item(paired: PairedTask) -> dict[str, tuple[float, float]]:
        ids = paired.baseline.column("item_id").to_pylist()
        return dict(zip(ids, zip(paired.baseline_score, paired.candidate_score, strict=True), strict=True))

    assert by_item(shuffled) == by_item(straight)
    assert shuffled.clusters is not None
    members: dict[int, set[str]] = {}
    for cluster, code in zip(shuffled.baseline.column("cluster").to_pylist(), shuffled.clusters, strict=True):
        members.setdefault(int(code), set()).add(cluster)
    assert sorted(len(names) for names in members.values()) == [1] * len({c for _, _, c in answers})


def test_every_kind_of_flip_is_counted() -> None:
    #           right-right, regression, improvement, wrong-same, wrong-other, wrong-unknown
    a = rows_of([1, 1, 0, 0, 0, 0], output=["a", "a", "b", "b", "b", None])
    b = rows_of([1, 0, 1, 0, 0, 0], output=["a", "b", "a", "b", "c", "c"])
    paired = pair_one(samples(a), samples(b))
    assert (paired.n, paired.regressions, paired.improvements, paired.changed_answers) == (6, 1, 1, 3)
    assert paired.binary


def test_correct_answers_with_other_wording_are_not_flips() -> None:
    a, b = rows_of([1.0], output=["four"]), rows_of([1.0], output=["4"])
    assert pair_one(samples(a), samples(b)).changed_answers == 0


def test_graded_scores_are_not_binary() -> None:
    a, b = rows_of([1.0, 0.5, 0.25]), rows_of([0.5, 0.5, 1.0])
    paired = pair_one(samples(a), samples(b))
    assert not paired.binary
    assert (paired.regressions, paired.improvements, paired.changed_answers) == (1, 1, 2)
    assert paired.baseline_score.tolist() == [1.0, 0.5, 0.25]


def test_items_on_one_side_are_refused_with_counts_and_names() -> None:
    a, b = rows_of([1.0] * 9), rows_of([1.0] * 9)[4:] + [{"item_id": "new"}]
    message = refused(samples(a), samples(b))
    assert "4 item(s) only in the baseline (i0, i1, i2, ...)" in message
    assert "1 item(s) only in the candidate (new)" in message
    assert "--allow-partial" in message


def test_allow_partial_pairs_the_intersection_with_a_note() -> None:
    a, b = rows_of([1.0] * 9), list(reversed(rows_of([0.0] * 6))) + [{"item_id": "new"}]
    pairing = pair(side(samples(a)), side(samples(b)), allow_partial=True)
    (paired,) = pairing.tasks
    assert (paired.n, paired.regressions, paired.left_out) == (6, 6, 4)
    assert paired.baseline.column("item_id").equals(paired.candidate.column("item_id"))
    (note,) = pairing.notes
    assert "3 item(s) only in the baseline" in note
    assert "left out" in note


def test_allow_partial_with_nothing_in_common_is_refused() -> None:
    message = refused(samples(rows_of([1.0])), samples([{"item_id": "other"}]), allow_partial=True)
    assert "only in the baseline (i0)" in message


@pytest.mark.parametrize("which", ["baseline", "candidate"])
def test_a_duplicated_item_is_refused(which: str) -> None:
    once, twice = samples(rows_of([1.0, 1.0])), samples([*rows_of([1.0, 1.0]), {"item_id": "i1"}])
    message = refused(twice, once) if which == "baseline" else refused(once, twice)
    assert f"the {which} has 1 item(s) more than once: i1" in message


def test_a_duplicated_repeat_is_refused() -> None:
    a = [{"item_id": "x", "repeat": repeat} for repeat in (0, 1, 1)]
    assert "more than once: x#1" in refused(samples(a), samples(a))


@pytest.mark.parametrize("which", ["baseline", "candidate"])
def test_a_side_without_samples_is_refused(which: str) -> None:
    full, empty = samples(rows_of([1.0])), samples([])
    message = refused(empty, full) if which == "baseline" else refused(full, empty)
    assert f"the {which} has no samples" in message


@pytest.mark.parametrize(("column", "what"), [("prompt_hash", "prompts"), ("target", "targets")])
def test_different_prompts_or_targets_are_refused_even_with_allow_partial(column: str, what: str) -> None:
    a = rows_of([1.0] * 5, **{column: ["same"] * 5})
    b = rows_of([1.0] * 5, **{column: ["same", "other", "same", "other", "same"]})
    for partial in (False, True):
        message = refused(samples(a), samples(b), allow_partial=partial)
        assert (
            f"2 of 5 items have different {what}: i1, i3 (e.g. i1: 'same' in the baseline, 'other' in the candidate)."
            in message
        )


def test_files_without_prompt_hashes_are_paired() -> None:
    a, b = rows_of([1.0], prompt_hash=["known"]), rows_of([0.0], prompt_hash=[None])
    assert pair_one(samples(a), samples(b)).regressions == 1


def test_different_facets_are_refused_with_both_values() -> None:
    rows = rows_of([1.0])
    a, b = (samples(rows, facets={"fewshot": shots, "prompt": "Q"}) for shots in ("0", "5" * 80))
    message = refused(a, b)
    assert "fewshot: '0' against '5555" in message
    assert "prompt:" not in message
    assert len(message) < 400


def test_facets_of_one_side_only_are_ignored() -> None:
    rows = rows_of([1.0])
    assert pair_one(samples(rows, facets={"fewshot": "0"}), samples(rows, facets={"kind": "x"})).n == 1


def test_different_metrics_are_refused() -> None:
    rows = rows_of([1.0])
    assert "metric: 'acc' against 'acc_norm'" in refused(samples(rows), samples(rows, metric="acc_norm"))


def test_a_task_on_one_side_is_refused_or_left_out_with_a_note() -> None:
    facts, more, extra = (samples(rows_of([1.0]), task) for task in ("facts", "more", "extra"))
    a, b = side(facts, more), side(facts, extra)
    with pytest.raises(SampleError, match=r"2 task\(s\) .*more \(not in the candidate\), extra \(not in the base"):
        pair(a, b)
    pairing = pair(a, b, allow_partial=True)
    assert [one.task for one in pairing.tasks] == ["facts"]
    assert "more (not in the candidate)" in pairing.notes[0]
    assert [one.task for one in pair(a, b, tasks=["facts"]).tasks] == ["facts"]
    with pytest.raises(SampleError, match="on one side only"):
        pair(side(more), side(extra), allow_partial=True)


def test_tasks_are_in_the_given_order_or_the_baselines() -> None:
    one, two = samples(rows_of([1.0]), "one"), samples(rows_of([1.0]), "two")
    assert [task.task for task in pair(side(two, one), side(one, two)).tasks] == ["two", "one"]
    assert [task.task for task in pair(side(two, one), side(one, two), ["one", "two"]).tasks] == [
        "one",
        "two",
    ]


def test_equal_notes_of_both_readers_appear_once() -> None:
    a = side(samples(rows_of([1.0])), notes=("read acc.",))
    b = side(samples(rows_of([1.0])), notes=("read acc.", "other"))
    assert pair(a, b).notes == ("read acc.", "other")


def test_repeats_of_an_item_are_averaged() -> None:
    a = [{"item_id": item, "repeat": r, "score": s} for item, r, s in
         (("x", 0, 1.0), ("x", 1, 0.0), ("y", 0, 1.0), ("y", 1, 1.0))]  # fmt: skip
    b = [{"item_id": item, "repeat": r, "score": s, "output": o} for item, r, s, o in
         (("y", 1, 0.0, "late"), ("y", 0, 1.0, "first"), ("x", 1, 0.0, "late"), ("x", 0, 0.0, "first"))]  # fmt: skip
    paired = pair_one(samples(a), samples(b))
    assert paired.n == 2
    scores = dict(zip(paired.baseline.column("item_id").to_pylist(), paired.baseline_score, strict=True))
    assert scores == {"x": 0.5, "y": 1.0}
    scores = dict(zip(paired.candidate.column("item_id").to_pylist(), paired.candidate_score, strict=True))
    assert scores == {"x": 0.0, "y": 0.5}
    assert paired.candidate.column("output").to_pylist() == ["first", "first"]
    assert not paired.binary


def test_a_partial_intersection_of_repeats_is_paired_repeat_by_repeat() -> None:
    a = [{"item_id": "x", "repeat": 0, "score": 1.0}, {"item_id": "x", "repeat": 1, "score": 0.0}]
    b = [{"item_id": "x", "repeat": 0, "score": 0.0}, {"item_id": "y", "repeat": 1, "score": 1.0}]
    paired = pair_one(samples(a), samples(b), allow_partial=True)
    assert (paired.baseline_score.tolist(), paired.candidate_score.tolist()) == ([1.0], [0.0])
    assert paired.left_out == 2


def test_a_side_without_repeats_pairs_with_the_first_repeat_of_the_other() -> None:
    a = rows_of([1.0, 1.0])
    b = [{"item_id": f"i{item}", "repeat": r, "score": float(r)} for item in (0, 1) for r in (0, 1)]
    assert "2 item(s) only in the candidate (i0#1, i1#1)" in refused(samples(a), samples(b))
    paired = pair_one(samples(a), samples(b), allow_partial=True)
    assert paired.candidate_score.tolist() == [0.0, 0.0]


def test_an_item_without_a_cluster_is_its_own_cluster() -> None:
    rows = rows_of([1.0] * 6, cluster=["p", None, "q", "p", None, None])
    codes = pair_one(samples(rows), samples(rows)).clusters
    assert codes is not None
    assert codes[0] == codes[3]
    assert len(np.unique(codes)) == 5


def test_samples_without_clusters_are_independent() -> None:
    assert pair_one(samples(rows_of([1.0])), samples(rows_of([1.0]))).clusters is None
