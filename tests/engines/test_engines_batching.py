"""Batches: every row once, within the bound, smaller after running out of memory. No model is involved."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.engines.hf.model.batching import BatchLimit, run_in_batches
from gate.engines.hf.model.memory import is_out_of_memory
from gate.errors import EvaluationError, ExitCode

LENGTHS = st.lists(st.integers(1, 60), max_size=40)
seeded = settings(max_examples=150, deadline=None, derandomize=True)


def batches_of(lengths: list[int], limit: BatchLimit, fits: int | None = None) -> list[list[int]]:
    """Return the batches that succeed if a batch of more than `fits` rows runs out of memory."""
    batches: list[list[int]] = []

    def forward(rows: list[int]) -> None:
        if fits is not None and len(rows) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        batches.append(rows)

    run_in_batches(lengths, limit, forward)
    return batches


@given(LENGTHS, st.integers(1, 300))
@seeded
def test_every_row_is_processed_once_within_the_bound_longest_first(lengths: list[int], bound: int) -> None:
    batches = batches_of(lengths, BatchLimit(bound))
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    for rows in batches:
        assert len(rows) == 1 or len(rows) * max(lengths[row] for row in rows) <= bound
    firsts = [lengths[row] for rows in batches for row in rows]
    assert firsts == sorted(lengths, reverse=True)


@given(LENGTHS, st.integers(1, 400), st.integers(1, 8))
@seeded
def test_out_of_memory_shrinks_the_batches_and_loses_no_row(lengths: list[int], bound: int, fits: int) -> None:
    limit = BatchLimit(bound)
    batches = batches_of(lengths, limit, fits=fits)
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    assert max(map(len, batches), default=0) <= fits
    assert 1 <= limit.tokens <= bound


def test_batches_are_as_full_as_the_bound_allows() -> None:
    assert batches_of([4, 4, 4, 4, 2, 2], BatchLimit(8)) == [[0, 1], [2, 3], [4, 5]]
    assert batches_of([5, 3], BatchLimit(8)) == [[0], [1]]


def test_running_out_of_memory_frees_memory_and_shrinks_the_bound_for_good(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limit, sizes, freed = BatchLimit(80, seconds=1e6), [], []  # after that much time the retries cost little

    def forward(rows: list[int]) -> None:
        sizes.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with caplog.at_level(logging.WARNING):
        run_in_batches([10] * 8, limit, forward, lambda: freed.append(1))
    assert sizes == [8, 4, 2, 2, 2, 2]
    assert len(freed) == 2
    assert limit.tokens == 20
    assert caplog.messages == [f"out of memory: batches are now at most {n} tokens" for n in (40, 20)]
    assert batches_of([10] * 4, limit) == [[0, 1], [2, 3]]


def test_the_bound_falls_faster_if_retries_take_too_much_time() -> None:
    limit, sizes = BatchLimit(640), []

    def forward(rows: list[int]) -> None:
        sizes.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    run_in_batches([10] * 64, limit, forward)
    assert sizes[:5] == [64, 32, 16, 2, 2]
    assert limit.costly


def test_a_bound_far_above_the_failed_batch_falls_to_half_of_that_batch() -> None:
    limit = BatchLimit(10**6)
    batches_of([10] * 8, limit, fits=4)
    assert limit.tokens == 40


def test_a_single_row_that_does_not_fit_is_an_error_with_exit_code_4() -> None:
    with pytest.raises(EvaluationError, match="out of memory with a single prompt of 20 tokens") as caught:
        batches_of([20, 3], BatchLimit(100), fits=0)
    assert caught.value.exit_code is ExitCode.EVALUATION


def test_other_errors_propagate() -> None:
    def forward(rows: list[int]) -> None:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        run_in_batches([1, 1], BatchLimit(10), forward)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("x"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("size mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_errors_are_distinguished_from_others(error: BaseException, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


@given(LENGTHS, st.integers(1, 300), st.data())
@seeded
def test_extra_memory_of_rows_counts_towards_the_bound(lengths: list[int], bound: int, data: st.DataObject) -> None:
    extra = data.draw(st.lists(st.floats(0, 50), min_size=len(lengths), max_size=len(lengths)))
    batches: list[list[int]] = []
    run_in_batches(lengths, BatchLimit(bound), batches.append, extra=extra)
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    for rows in batches:
        used = len(rows) * max(lengths[row] for row in rows) + sum(extra[row] for row in rows)
        assert len(rows) == 1 or used <= bound + 1e-6


@given(LENGTHS.filter(len), st.integers(1, 300))
@seeded
def test_padding_stays_within_the_documented_bound(lengths: list[int], bound: int) -> None:
    batches = batches_of(lengths, BatchLimit(bound))
    waste = sum(max(lengths[other] for other in rows) - lengths[row] for rows in batches for row in rows)
    assert waste <= bound * math.log(max(lengths) / min(lengths)) + 1e-6


def test_the_time_of_batches_that_run_out_of_memory_is_recorded() -> None:
    limit = BatchLimit(80)
    batches_of([10] * 8, limit, fits=4)
    assert 0 < limit.wasted < limit.seconds
    whole = BatchLimit(80)
    batches_of([10] * 8, whole)
    assert whole.wasted == 0
