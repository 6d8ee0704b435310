"""Families of prompts: everybody in one, what they share is shared, and no pass is made for little."""

from __future__ import annotations

from itertools import takewhile

from hypothesis import given
from hypothesis import strategies as st

from gate.engines.hf.generation.families import families

BLOCK = list(range(100, 500))
OTHER = list(range(600, 900))


def test_a_few_shot_block_is_found() -> None:
    prompts = [[*BLOCK, number, number + 1] for number in range(50)]
    (family,) = families(prompts)
    assert family.shared == len(BLOCK)
    assert sorted(family.members) == list(range(50))


def test_two_tasks_and_a_stray_prompt_make_two_families_and_a_rest() -> None:
    prompts = [[7, 8], *([*BLOCK, number] for number in range(9)), *([*OTHER, number] for number in range(9))]
    found = families(prompts)
    assert [family.shared for family in found] == [len(BLOCK), len(OTHER), 0]
    assert [sorted(family.members) for family in found] == [list(range(1, 10)), list(range(10, 19)), [0]]


def test_a_chat_template_before_every_block_does_not_hide_the_blocks() -> None:
    system = list(range(20))
    prompts = [[*system, *block, number] for block in (BLOCK, OTHER) for number in range(10)]
    assert [family.shared for family in families(prompts)] == [420, 320]


def test_little_in_common_is_not_worth_a_pass() -> None:
    assert [family.shared for family in families([[1, 2, 3, number] for number in range(20)])] == [0]


def test_equal_prompts_count_once() -> None:
    assert [family.shared for family in families([BLOCK] * 5)] == [0]
    assert families([]) == []


def common(prompts: list[list[int]]) -> list[int]:
    return [column[0] for column in takewhile(lambda ids: len(set(ids)) == 1, zip(*prompts, strict=False))]


@given(
    st.lists(
        st.lists(st.integers(0, 2), max_size=4).map(lambda ids: [i for i in ids for _ in range(90)]),
        max_size=30,
    )
)
def test_families_part_the_prompts_and_share_what_they_say(prompts: list[list[int]]) -> None:
    found = families(prompts)
    assert sorted(member for family in found for member in family.members) == list(range(len(prompts)))
    for family in found:
        members = [prompts[member] for member in family.members]
        if family.shared:
            assert family.shared == len(common(members))


def test_many_prompts_of_rising_likeness_are_parted_without_recursion() -> None:
    prompts = [[1] * length + [2] for length in range(1500)]
    assert sum(len(family.members) for family in families(prompts)) == 1500
