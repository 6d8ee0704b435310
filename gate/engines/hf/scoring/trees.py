"""Packed rows: token sequences as a trie, so that the model reads what they share once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gate.engines.tokens.rows import Row, common_length


@dataclass(frozen=True)
class Scored:
    """A continuation inside a packed row.

    Attributes
    ----------
    indices : (int, int)
        Request and continuation.
    at : tuple of int
        Positions in the row whose logits predict its tokens, `ids`.
    context : int
        Number of tokens before it, including those of a shared prefix.
    """

    indices: tuple[int, int]
    at: tuple[int, ...]
    ids: tuple[int, ...]
    context: int


@dataclass(frozen=True)
class Tree:
    """A packed row: a trie of token sequences laid out depth first, so that a token's descendants directly follow it.

    Attributes
    ----------
    position_ids : list of int
        Number of tokens before each token in its own sequence.
    ends : list of int
        End of each token's descendants in the row: only the tokens k, ..., ends[k] - 1 attend to token k.
    """

    tokens: list[int]
    position_ids: list[int]
    ends: list[int]
    targets: tuple[Scored, ...]

    @property
    def linear(self) -> bool:
        """Whether this is one sequence from its first token on, which needs no mask of its own."""
        return self.position_ids[0] == 0 and self.position_ids[-1] == len(self.tokens) - 1


@dataclass(frozen=True)
class Group:
    """Trees that continue the same prefix, which may be empty."""

    prefix: tuple[int, ...]
    trees: list[Tree]


def unpacked(rows: Sequence[Row]) -> Group:
    """Return each row as a tree of its own, without a prefix."""
    return Group((), [build_tree([row], 0) for row in rows])


def build_tree(rows: Sequence[Row], prefix: int) -> Tree:
    """Merge rows, in lexicographic order or its reverse, into one tree without their first `prefix` tokens."""
    tokens: list[int] = []
    position_ids: list[int] = []
    ends: list[int] = []
    path: list[int] = []  # positions in the tree of the current row's tokens
    targets: list[Scored] = []
    before: tuple[int, ...] = ()
    for row in rows:
        shared = common_length(before, row.tokens) - prefix if before else 0
        for position in path[shared:]:
            ends[position] = len(tokens)
        del path[shared:]
        new = row.tokens[prefix + shared :]
        path.extend(range(len(tokens), len(tokens) + len(new)))
        position_ids.extend(range(prefix + shared, prefix + shared + len(new)))
        tokens.extend(new)
        ends.extend([0] * len(new))
        for target in row.targets:
            context = target.end - len(target.ids) + 1
            at = tuple(path[context - 1 - prefix : target.end - prefix])
            targets.append(Scored(target.indices, at, target.ids, context))
        before = row.tokens
    for position in path:
        ends[position] = len(tokens)
    return Tree(tokens, position_ids, ends, tuple(targets))


def concatenate(trees: Sequence[Tree]) -> Tree:
    """Return one row with several trees that do not attend to each other."""
    if len(trees) == 1:
        return trees[0]
    tokens: list[int] = []
    position_ids: list[int] = []
    ends: list[int] = []
    targets: list[Scored] = []
    for tree in trees:
        start = len(tokens)
        tokens += tree.tokens
        position_ids += tree.position_ids
        ends += [start + end for end in tree.ends]
        targets += [replace(target, at=tuple(start + position for position in target.at)) for target in tree.targets]
    return Tree(tokens, position_ids, ends, tuple(targets))
