"""Which prefixes of token sequences are worth computing once: few-shot blocks, system prompts, long contexts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from gate.engines.tokens.rows import common_length


@dataclass(frozen=True)
class SharedPrefix:
    """Indices of sequences whose first `length` tokens are computed once; 0 for those that share too little."""

    length: int
    members: tuple[int, ...]


def group_by_prefix(sequences: Sequence[Sequence[int]], cost: int) -> list[SharedPrefix]:
    """Group token sequences, in any order, by the prefixes that save the most tokens; see `plan_prefixes`.

    Every sequence is a member of one prefix. Equal sequences count once and stay together.
    """
    equal: dict[tuple[int, ...], list[int]] = {}
    for index, sequence in enumerate(sequences):
        equal.setdefault(tuple(sequence), []).append(index)
    distinct = sorted(equal)
    common = [common_length(first, second) for first, second in pairwise(distinct)]
    return [
        SharedPrefix(group.length, tuple(index for row in group.members for index in equal[distinct[row]]))
        for group in plan_prefixes(common, cost, range(len(distinct)))
    ]


def plan_prefixes(
    common: Sequence[int], cost: int, owners: Sequence[int], long: float = math.inf
) -> list[SharedPrefix]:
    """Choose the prefixes of sorted sequences that save the most tokens.

    The sorted sequences form a trie, which is visited from the leaves to the root. A node of depth L that n owners
    share saves (n - 1) L - `cost` tokens. It becomes a prefix if that exceeds the savings of the deeper prefixes that
    it replaces; a deeper prefix is kept if it saves more than its members would save at the node.

    Parameters
    ----------
    common : sequence of int
        Number of leading tokens that neighbours may share: `common[i]` for sequences i and i + 1.
    cost : int
        What the extra forward pass of a prefix costs, in tokens.
    owners : sequence of int
        Sequences of one owner share their tokens anyway and count once.
    long : float
        Prefixes of at least this many tokens are worth computing once even for the sequences of a single owner.

    Returns
    -------
    list of SharedPrefix
        In order of the first member, members in ascending order. Length 0, if present, comes last.
    """
    seen: set[int] = set()
    path: list[_Node] = []  # from the root to the current sequence, by increasing length
    for row, (owner, following) in enumerate(zip(owners, [*common, -1], strict=False)):
        node = _Node(0, [row], int(owner not in seen))
        seen.add(owner)
        while path and path[-1].length > following:
            parent = path.pop()
            parent.add(node)
            parent.decide(cost, long)
            node = parent
        if path and path[-1].length == following:
            path[-1].add(node)
        else:
            node.length = following
            path.append(node)
    if not path:
        return []
    (root,) = path
    groups = [SharedPrefix(prefix.length, tuple(sorted(prefix.rows))) for prefix in root.prefixes]
    groups.sort(key=lambda group: group.members[0])
    return [*groups, SharedPrefix(0, tuple(sorted(root.rows)))] if root.rows else groups


@dataclass
class _Node:
    """A node of the trie: the prefixes chosen below it, and the rows that belong to none of them.

    A chosen prefix is a node without prefixes of its own. `owners` is the number of distinct owners of `rows`.
    """

    length: int
    rows: list[int] = field(default_factory=list)
    owners: int = 0
    prefixes: list[_Node] = field(default_factory=list)
    saved: int = 0

    def add(self, other: _Node) -> None:
        self.rows += other.rows
        self.owners += other.owners
        self.prefixes += other.prefixes

    def decide(self, cost: int, long: float) -> None:
        """Make this node a prefix if that saves tokens."""

        def count(node: _Node) -> int:
            return node.owners if self.length < long else len(node.rows)

        joining: list[_Node] = []
        kept: list[_Node] = []
        for prefix in self.prefixes:
            (joining if count(prefix) * self.length >= prefix.saved else kept).append(prefix)
        saved = (count(self) + sum(map(count, joining)) - 1) * self.length - cost
        if saved > sum(prefix.saved for prefix in joining):
            for prefix in joining:
                self.add(prefix)
            self.prefixes = [*kept, _Node(self.length, self.rows, self.owners, saved=saved)]
            self.rows, self.owners = [], 0
