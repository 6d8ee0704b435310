"""Where generated texts part: common beginnings in tokens, or in words where tokens are unknown."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from gate.decision.behaviour import behaviour_of
from gate.samples import ModelSamples, PairedTask, TaskSamples, pair
from gate.samples.parting import parting
from gate.samples.record import SAMPLE_SCHEMA


def paired(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> PairedTask:
    sides = []
    for name, items in (("a", first), ("b", second)):
        base = {"task": "t", "repeat": 0, "metric": "exact_match", "score": 1.0, "finish_reason": "stop"}
        rows = [base | {"item_id": f"i{number}"} | item for number, item in enumerate(items)]
        table = pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)
        sides.append(ModelSamples(name, {"t": TaskSamples("t", "exact_match", table)}))
    return pair(*sides).tasks[0]


def test_common_prefixes_and_equal_texts_are_counted_in_tokens() -> None:
    first = [{"text_tokens": tokens} for tokens in ([1, 2, 3], [1, 2, 3], [7, 8], [])]
    second = [{"text_tokens": tokens} for tokens in ([1, 2, 3], [1, 2, 4], [7, 8, 9], [])]
    found = parting(paired(first, second))
    assert found is not None
    assert (found.unit, found.prefix.tolist()) == ("tokens", [3, 2, 2, 0])
    assert found.equal.tolist() == [True, False, False, True]
    assert [found.agreeing(length) for length in (1, 2, 3, 128)] == [1.0, 1.0, 0.5, 0.5]


def test_words_replace_tokens_where_a_side_has_none() -> None:
    first = [{"output": "the cat sat", "text_tokens": [1, 2]}, {"output": "a  dog", "text_tokens": [5]}]
    second = [{"output": "the cat ran"}, {"output": "a dog"}]
    found = parting(paired(first, second))
    assert found is not None
    assert (found.unit, found.prefix.tolist(), found.equal.tolist()) == ("words", [2, 2], [False, True])


def test_choices_are_no_texts() -> None:
    items = [{"output": "0", "choices": ["x", "y"], "finish_reason": None}]
    assert parting(paired(items, items)) is None


@given(st.lists(st.tuples(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2))), min_size=1, max_size=20))
def test_agreement_never_grows_with_the_length(texts: list[tuple[list[int], list[int]]]) -> None:
    sides = ([{"text_tokens": one} for one in side] for side in zip(*texts, strict=True))
    behaviour = behaviour_of(paired(*sides))
    assert behaviour is not None
    assert behaviour.partings is not None
    shares = [each.share for each in behaviour.partings.agreeing]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] >= behaviour.partings.equal == sum(a == b for a, b in texts) / len(texts)
