"""Shared prefixes: few-shot blocks are found, and no plan by runs of sorted prompts saves more tokens."""

from __future__ import annotations

from itertools import pairwise, takewhile

from hypothesis import given
from hypothesis import strategies as st

from gate.engines.hf.model.prefixes import SharedPrefix, group_by_prefix, plan_prefixes

BLOCK = list(range(100, 500))
OTHER = list(range(600, 900))
COST = 128


def lengths(groups: list[SharedPrefix]) -> list[int]:
    return [group.length for group in groups]


def test_a_few_shot_block_is_found() -> None:
    prompts = [[*BLOCK, number, number + 1] for number in range(50)]
    (group,) = group_by_prefix(prompts, COST)
    assert group.length == len(BLOCK)
    assert sorted(group.members) == list(range(50))


def test_two_tasks_and_an_unrelated_prompt_make_two_prefixes_and_a_rest() -> None:
    prompts = [[7, 8], *([*BLOCK, number] for number in range(9)), *([*OTHER, number] for number in range(9))]
    groups = group_by_prefix(prompts, COST)
    assert lengths(groups) == [len(BLOCK), len(OTHER), 0]
    assert [sorted(group.members) for group in groups] == [list(range(1, 10)), list(range(10, 19)), [0]]


def test_a_chat_template_before_every_block_does_not_hide_the_blocks() -> None:
    system = list(range(20))
    prompts = [[*system, *block, number] for block in (BLOCK, OTHER) for number in range(10)]
    assert lengths(group_by_prefix(prompts, COST)) == [420, 320]


def test_a_short_common_prefix_is_not_worth_a_pass() -> None:
    assert lengths(group_by_prefix([[1, 2, 3, number] for number in range(20)], COST)) == [0]


def test_equal_prompts_count_once() -> None:
    assert lengths(group_by_prefix([BLOCK] * 5, COST)) == [0]
    assert group_by_prefix([], COST) == []


def test_prompts_outside_the_deep_prefixes_share_a_shallow_one_wherever_they_are_sorted() -> None:
    system = [0] * 200
    blocks = [[*system, 2 * number + 1] + [5] * 500 for number in range(3)]
    prompts = [[*system, 2 * number] for number in range(4)]
    prompts += [[*block, number] for block in blocks for number in (7, 8, 9)]
    groups = group_by_prefix(prompts, COST)
    assert lengths(groups) == [200, 701, 701, 701]
    assert groups[0].members == (0, 1, 2, 3)


def test_a_prefix_dissolves_where_its_members_save_more_at_a_shallower_one() -> None:
    system = [0] * 290
    pair = [[*system, *[1] * 10, number] for number in (1, 2, 3)]  # alone, 2 x 300 tokens less a pass
    others = [[*system, 2 + number] for number in range(6)]
    (group,) = group_by_prefix(pair + others, COST)
    assert (group.length, len(group.members)) == (290, 9)


def test_sequences_of_one_owner_count_once_unless_their_prefix_is_long() -> None:
    assert lengths(plan_prefixes([300, 300], COST, [0, 0, 0])) == [0]
    assert lengths(plan_prefixes([300, 300], COST, [0, 1, 1])) == [300]
    assert lengths(plan_prefixes([300, 300], COST, [0, 0, 0], long=300)) == [300]


def common(prompts: list[list[int]]) -> list[int]:
    return [column[0] for column in takewhile(lambda ids: len(set(ids)) == 1, zip(*prompts, strict=False))]


PROMPTS = st.lists(
    st.lists(st.integers(0, 2), max_size=4).map(lambda ids: [i for i in ids for _ in range(90)]), max_size=30
)


@given(PROMPTS)
def test_every_prompt_is_in_one_group_and_starts_with_its_prefix(prompts: list[list[int]]) -> None:
    groups = group_by_prefix(prompts, COST)
    assert sorted(member for group in groups for member in group.members) == list(range(len(prompts)))
    for group in groups:
        if group.length:
            assert group.length == len(common([prompts[member] for member in group.members]))


@given(PROMPTS)
def test_no_partition_of_the_sorted_prompts_into_runs_saves_more(prompts: list[list[int]]) -> None:
    distinct = sorted({tuple(prompt) for prompt in prompts})
    shared = [len(common([list(one), list(other)])) for one, other in pairwise(distinct)]
    best = [0]
    for end in range(1, len(distinct) + 1):
        best.append(
            max(
                best[start] + max(0, (end - start - 1) * min(shared[start : end - 1], default=0) - COST)
                for start in range(end)
            )
        )
    plan = plan_prefixes(shared, COST, range(len(distinct)))
    saved = sum((len(group.members) - 1) * group.length - COST for group in plan if group.length)
    assert saved >= best[-1]


def test_a_deep_trie_needs_no_recursion() -> None:
    prompts = [[1] * length + [2] for length in range(1500)]
    assert sum(len(group.members) for group in group_by_prefix(prompts, COST)) == 1500
