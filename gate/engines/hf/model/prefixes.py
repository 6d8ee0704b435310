"""Which prefixes of token sequences are worth computing once: few-shot blocks, system prompts, long contexts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from gate.engines.tokens.rows import common_length


@dataclass(frozen=True)
class SharedPrefix:
    """Sequences whose first `length` tokens are equal and are computed once; `members` are their indices.

    Length 0: the sequences that share too little.
    """

    length: int
    members: tuple[int, ...]


def group_by_prefix(sequences: Sequence[Sequence[int]], cost: int) -> list[SharedPrefix]:
    """Group token sequences by the prefixes that save the most tokens.

    Parameters
    ----------
    sequences : sequence of sequences of int
        In any order. Equal sequences count once and stay together.
    cost : int
        What the extra forward pass of a prefix costs, in tokens.

    Returns
    -------
    list of SharedPrefix
        Every sequence is a member of one. Length 0, if present, comes last.
    """
    equal: dict[tuple[int, ...], list[int]] = {}
    for index, sequence in enumerate(sequences):
        equal.setdefault(tuple(sequence), []).append(index)
    distinct = sorted(equal)
    common = [common_length(first, second) for first, second in pairwise(distinct)]
    return [
        SharedPrefix(group.length, tuple(index for row in group.members for index in equal[distinct[row]]))
        for group in plan_prefixes(common, cost, list(range(len(distinct))))
    ]


def plan_prefixes(
    common: Sequence[int], cost: int, owners: Sequence[int], long: int | None = None
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
    long : int, optional
        Prefixes of at least this many tokens are worth computing once even for the sequences of a single owner.

    Returns
    -------
    list of SharedPrefix
        In order of the first member, members in ascending order. Length 0, if present, comes last.
    """
    seen: set[int] = set()
    path: list[_Node] = []  # from the root to the current sequence, by increasing length
    for row, owner in enumerate(owners):
        node = _Node(0, rest=_Members([row], int(owner not in seen)))
        seen.add(owner)
        following = common[row] if row + 1 < len(owners) else -1
        while path and path[-1].length > following:
            parent = path.pop()
            parent.add(node)
            parent.decide(cost, long)
            node = parent
        if path and path[-1].length == following:
            path[-1].add(node)
        else:
            path.append(_Node(following, node.prefixes, node.rest))
    if not path:
        return []
    (root,) = path
    groups = [SharedPrefix(prefix.length, tuple(sorted(prefix.members.rows))) for prefix in root.prefixes]
    groups.sort(key=lambda group: group.members[0])
    return [*groups, SharedPrefix(0, tuple(sorted(root.rest.rows)))] if root.rest.rows else groups


@dataclass
class _Members:
    """Sequences, and the number of distinct owners among them."""

    rows: list[int] = field(default_factory=list)
    owners: int = 0

    def add(self, other: _Members) -> None:
        self.rows += other.rows
        self.owners += other.owners

    def count(self, length: int, long: int | None) -> int:
        """Return how many of them would compute a prefix of this length separately."""
        return self.owners if long is None or length < long else len(self.rows)


@dataclass
class _Prefix:
    """A chosen prefix and the tokens that it saves."""

    length: int
    members: _Members
    saved: int


@dataclass
class _Node:
    """A node of the trie: the prefixes chosen below it, and the sequences that belong to none of them."""

    length: int
    prefixes: list[_Prefix] = field(default_factory=list)
    rest: _Members = field(default_factory=_Members)

    def add(self, child: _Node) -> None:
        self.prefixes += child.prefixes
        self.rest.add(child.rest)

    def decide(self, cost: int, long: int | None) -> None:
        """Make this node a prefix if that saves tokens."""

        def joins(prefix: _Prefix) -> bool:
            return prefix.members.count(self.length, long) * self.length >= prefix.saved

        joining = [prefix for prefix in self.prefixes if joins(prefix)]
        count = self.rest.count(self.length, long)
        count += sum(prefix.members.count(self.length, long) for prefix in joining)
        saved = (count - 1) * self.length - cost
        if saved <= sum(prefix.saved for prefix in joining):
            return
        for prefix in joining:
            self.rest.add(prefix.members)
        kept = [prefix for prefix in self.prefixes if not joins(prefix)]
        self.prefixes = [*kept, _Prefix(self.length, self.rest, saved)]
        self.rest = _Members()
