"""Rows of tokens as trees: what several continuations share is in a row once, each continuation is a branch."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from gate.engines.tokens.requests import Row, common_length

# Trees share rows, so that little is padded. Attention within a row is quadratic, with most of it masked; but each row
# reads a copy of the keys and values of its prefix, so rows grow with that. In tokens, from and to.
_WIDTH = (128, 512)
_TREE = 256  # tokens up to which rows that begin alike become one
_LARGEST = 4096  # tokens of a row that has branches at all
_SHARED = 0.25  # part of a row that it must share with that of another question to become its branch
_LONG = 2048  # tokens from which on even one question's context is computed apart from its choices
_GAIN = 256  # tokens that a shared prefix must save: it costs forward passes of its own
_DEPTH = 6  # levels of prefixes that are looked at: description, few-shot block, passage, ...


@dataclass(frozen=True)
class Scored:
    """A continuation inside a tree.

    Attributes
    ----------
    place : (int, int)
        Request and continuation.
    at : tuple of int
        Positions in the row whose logits predict its tokens.
    ids : tuple of int
        Its tokens.
    context : int
        How many tokens come before it, those of a shared prefix included.
    """

    place: tuple[int, int]
    at: tuple[int, ...]
    ids: tuple[int, ...]
    context: int


@dataclass(frozen=True)
class Tree:
    """One row of a forward pass: a tree of tokens, depth first, so that a token's descendants directly follow it.

    Attributes
    ----------
    tokens : list of int
    depths : list of int
        Number of tokens before each in its own text: its position id.
    ends : list of int
        Where each token's descendants end in the row: token k is seen by the tokens k, ..., ends[k] - 1 alone.
    targets : tuple of Scored
    """

    tokens: list[int]
    depths: list[int]
    ends: list[int]
    targets: tuple[Scored, ...]

    @property
    def chain(self) -> bool:
        """Whether there are no branches: an ordinary row of text."""
        return (
            self.depths[0] == 0
            and self.ends[0] == len(self.tokens)
            and self.depths[-1] == len(self.tokens) - 1
        )


@dataclass(frozen=True)
class Group:
    """Trees that go on from the same prefix, which may be empty."""

    prefix: tuple[int, ...]
    trees: list[Tree]


def chains(rows: Sequence[Row]) -> Group:
    """Return each row as a tree without branches: plain scoring."""
    return Group((), [grow([row], 0) for row in rows])


def plan(rows: Sequence[Row], room: int, window: int | None = None) -> list[Group]:
    """Fold rows into trees, behind prefixes where that saves enough.

    Parameters
    ----------
    rows : sequence of Row
        In lexicographic order of their tokens, or its reverse; none is a prefix of another.
    room : int
        Tokens over which a row gets no branches, unless without them it is nearly as long.
    window : int or None
        The same, its prefix included.

    Returns
    -------
    list of Group
        Every target is in it once.
    """
    if not rows:
        return []
    shared = [0]
    for before, row in pairwise(rows):
        # the token that predicts the first scored one stays in the row: its logits are needed
        shared.append(min(common_length(before.tokens, row.tokens), before.first, row.first))
    groups: list[Group] = []
    alone: list[Row] = []
    within = 1 << 30 if window is None else window
    for low, high, length in _prefixes(rows, shared):
        if length:
            members = rows[low:high]
            trees = _fold(members, length, min(_TREE, room), within - length)
            width = min(max(length, _WIDTH[0]), _WIDTH[1], room, within - length)
            groups.append(Group(members[0].tokens[:length], _fill(trees, width)))
        else:
            alone.extend(rows[low:high])
    if alone:
        trees = _fold(alone, 0, min(_TREE, room), min(_LARGEST, within))
        if not all(tree.chain for tree in trees):  # rows of text need no mask, and are faster without one
            trees = _fill(trees, min(_WIDTH[0], room, within))
        groups.append(Group((), trees))
    return groups


def _prefixes(rows: Sequence[Row], shared: Sequence[int]) -> list[tuple[int, int, int]]:
    """Cut the rows into runs (from, to, length of the prefix that is computed apart or 0) that save the most tokens."""

    def best(low: int, high: int, depth: int) -> tuple[int, list[tuple[int, int, int]]]:
        if high - low < 2:
            return 0, [(low, high, 0)]
        length = min(shared[low + 1 : high])
        # the choices of one question share its context as branches of one tree anyway, unless it is long
        count = high - low if length >= _LONG else len({row.targets[0].place[0] for row in rows[low:high]})
        together = (count - 1) * length - _GAIN
        apart, parts = 0, [(low, high, 0)]
        if depth < _DEPTH:
            cuts = [low, *(i for i in range(low + 1, high) if shared[i] == length), high]
            if len(cuts) - 1 < high - low:
                found = [best(a, b, depth + 1) for a, b in pairwise(cuts)]
                apart, parts = sum(gain for gain, _ in found), [part for _, some in found for part in some]
        if together > max(apart, 0):
            return together, [(low, high, length)]
        return (apart, parts) if apart > 0 else (0, [(low, high, 0)])

    return best(0, len(rows), 0)[1]


def _fold(rows: Sequence[Row], prefix: int, room: int, most: int) -> list[Tree]:
    """Make trees of neighbours: a row is a branch of the one before it if both are of one question, or share a lot.

    A tree has at most `room` tokens, or half as many again as the row that comes to it, but never over `most`.
    """
    trees: list[Tree] = []
    members: list[Row] = []
    size = 0
    for row in rows:
        length = len(row.tokens) - prefix
        both = common_length(members[-1].tokens, row.tokens) - prefix if members else 0
        full = size + length - both > min(most, max(room, length + length // 2))
        kin = members and members[-1].targets[0].place[0] == row.targets[0].place[0]
        if members and (full or both < (1 if kin else _SHARED * length)):
            trees.append(grow(members, prefix))
            members, size, both = [], 0, 0
        members.append(row)
        size += length - both
    trees.append(grow(members, prefix))
    return trees


def _fill(trees: Sequence[Tree], width: int) -> list[Tree]:
    """Put trees beside each other in rows of at most `width` tokens, each where it leaves the least room unused."""
    space: list[tuple[int, int]] = []  # room that is left, and the row
    rows: list[list[Tree]] = []
    for tree in sorted(trees, key=lambda one: -len(one.tokens)):
        size = len(tree.tokens)
        place = bisect_left(space, (size, 0))
        if place < len(space):
            left, row = space.pop(place)
        else:
            left, row = max(width, size), len(rows)
            rows.append([])
        rows[row].append(tree)
        insort(space, (left - size, row))
    return [_beside(row) for row in rows]


def _beside(trees: Sequence[Tree]) -> Tree:
    """Return one row of several trees, of which none sees another."""
    if len(trees) == 1:
        return trees[0]
    tokens: list[int] = []
    depths: list[int] = []
    ends: list[int] = []
    targets: list[Scored] = []
    for tree in trees:
        start = len(tokens)
        tokens += tree.tokens
        depths += tree.depths
        ends += [start + end for end in tree.ends]
        targets += [
            replace(target, at=tuple(start + place for place in target.at)) for target in tree.targets
        ]
    return Tree(tokens, depths, ends, tuple(targets))


def grow(rows: Sequence[Row], prefix: int) -> Tree:
    """Make one tree of rows in lexicographic order (or its reverse), without their first `prefix` tokens."""
    tokens: list[int] = []
    depths: list[int] = []
    ends: list[int] = []
    path: list[int] = []  # where the tokens of the current text are in the row
    targets: list[Scored] = []
    before: tuple[int, ...] = ()
    for row in rows:
        both = common_length(before, row.tokens) - prefix if before else 0
        for place in path[both:]:
            ends[place] = len(tokens)
        del path[both:]
        new = row.tokens[prefix + both :]
        path.extend(range(len(tokens), len(tokens) + len(new)))
        depths.extend(range(prefix + both, prefix + both + len(new)))
        tokens.extend(new)
        ends.extend([0] * len(new))
        for target in row.targets:
            context = target.end - len(target.ids) + 1
            at = tuple(path[context - 1 - prefix : target.end - prefix])
            targets.append(Scored(target.place, at, target.ids, context))
        before = row.tokens
    for place in path:
        ends[place] = len(tokens)
    return Tree(tokens, depths, ends, tuple(targets))
