"""The page pool: no page has two owners by accident, and no page is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.engines.hf.generation.page_pool import PADDING_PAGE, PagePool


@given(
    size=st.integers(0, 12),
    moves=st.lists(st.tuples(st.sampled_from(["allocate", "share", "free"]), st.integers(0, 50))),
)
def test_a_page_is_free_exactly_while_it_has_no_holder(size: int, moves: list[tuple[str, int]]) -> None:
    pool = PagePool(size)
    holders: list[list[int]] = []
    for move, number in moves:
        if move == "allocate" and number <= pool.num_free:
            allocated = pool.allocate(number)
            assert len(set(allocated)) == number
            assert not {page for pages in holders for page in pages} & set(allocated)
            holders.append(allocated)
        elif move == "share" and holders:
            holders.append(pool.share(holders[number % len(holders)]))
        elif move == "free" and holders:
            pool.free(holders.pop(number % len(holders)))
        held = {page for pages in holders for page in pages}
        assert pool.num_free == size - len(held)
        assert PADDING_PAGE not in held


def test_allocating_more_pages_than_are_free_is_an_error() -> None:
    with pytest.raises(IndexError):
        PagePool(2).allocate(3)
