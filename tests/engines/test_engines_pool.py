"""Pages of the cache: no page has two writers, none is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.engines.hf.generation.pool import NOBODY, Pool


@given(
    size=st.integers(0, 12),
    moves=st.lists(st.tuples(st.sampled_from(["take", "share", "back"]), st.integers(0, 50))),
)
def test_a_page_is_free_exactly_while_nobody_holds_it(size: int, moves: list[tuple[str, int]]) -> None:
    pool = Pool(size)
    holders: list[list[int]] = []
    for what, number in moves:
        if what == "take" and number <= pool.free:
            taken = pool.take(number)
            assert len(set(taken)) == number
            assert not {page for pages in holders for page in pages} & set(taken)
            holders.append(taken)
        elif what == "share" and holders:
            holders.append(pool.share(holders[number % len(holders)]))
        elif what == "back" and holders:
            pool.give_back(holders.pop(number % len(holders)))
        held = {page for pages in holders for page in pages}
        assert pool.free == size - len(held)
        assert NOBODY not in held


def test_more_pages_than_are_free_are_refused() -> None:
    with pytest.raises(IndexError):
        Pool(2).take(3)
