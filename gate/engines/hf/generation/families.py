"""Which prompts begin alike: the few-shot block of a task is put into the model once, not once an item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gate.engines.tokens.requests import common_length

_PASS = 128  # tokens' worth of time that a forward pass of its own costs


@dataclass(frozen=True)
class Family:
    """Prompts whose first `shared` tokens are the same; `members` are their indices."""

    shared: int
    members: tuple[int, ...]


def families(prompts: Sequence[Sequence[int]]) -> list[Family]:
    """Split prompts so that many tokens are shared within the parts.

    In lexicographic order a part that shares a prefix is a run. A run is cut where its neighbours share least, if its
    parts then save more than the run as a whole; equal prompts count once. Prompts that share too little to be worth a
    pass of their own make one part, the last.
    """
    equal: dict[tuple[int, ...], list[int]] = {}
    for index, prompt in enumerate(prompts):
        equal.setdefault(tuple(prompt), []).append(index)
    distinct = sorted(equal)
    common = [common_length(one, other) for one, other in pairwise(distinct)]
    found: list[Family] = []
    alone: list[int] = []
    for first, last in _runs(common, len(distinct)):
        members = [index for prompt in distinct[first:last] for index in equal[prompt]]
        shared = min(common[first : last - 1], default=0)
        if _saved(last - first, shared):
            found.append(Family(shared, tuple(members)))
        else:
            alone += members
    return [*found, Family(0, tuple(alone))] if alone else found


def _runs(common: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Return the best runs (first, last + 1) of `count` neighbours that share `common` tokens pairwise.

    The runs form a tree, each cut at its smallest `common`; it is worked off from the leaves, without recursion.
    """
    order: list[tuple[int, int]] = []
    cuts: dict[tuple[int, int], int] = {}
    waiting = [(0, count)] if count else []
    while waiting:
        first, last = waiting.pop()
        order.append((first, last))
        if last - first > 1:
            cut = min(
                range(first, last - 1), key=lambda place: (common[place], abs(2 * place + 2 - first - last))
            )
            cuts[first, last] = cut
            waiting += [(first, cut + 1), (cut + 1, last)]
    saved: dict[tuple[int, int], int] = {}
    kept: dict[tuple[int, int], bool] = {}
    for run in reversed(order):
        first, last = run
        if run not in cuts:
            saved[run], kept[run] = 0, True
            continue
        cut = cuts[run]
        whole = _saved(last - first, common[cut])
        parts = saved[first, cut + 1] + saved[cut + 1, last]
        kept[run] = whole >= parts
        saved[run] = max(whole, parts)
    best: list[tuple[int, int]] = []
    waiting = [(0, count)] if count else []
    while waiting:
        first, last = waiting.pop()
        if kept[first, last]:
            best.append((first, last))
        else:
            cut = cuts[first, last]
            waiting += [(cut + 1, last), (first, cut + 1)]
    return best


def _saved(prompts: int, shared: int) -> int:
    """Return the tokens saved by reading what `prompts` prompts share once."""
    return max(0, (prompts - 1) * shared - _PASS)
