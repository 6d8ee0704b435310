"""Plan packed rows: which prefixes are computed once, which rows become one tree, and which trees share a row."""

from __future__ import annotations

import sys
from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import pairwise

from gate.engines.hf.model.prefixes import plan_prefixes
from gate.engines.hf.scoring.trees import Group, Tree, build_tree, concatenate
from gate.engines.tokens.rows import Row, common_length

# Several trees in one row mean less padding. But attention within a row is quadratic and mostly masked, and each row
# reads its own copy of the prefix's keys and values, so the row width grows with the prefix. In tokens: bounds of it.
_ROW_WIDTH = (128, 512)
_TREE_TOKENS = 256  # tokens up to which neighbouring rows become one tree
_LARGEST_TREE = 4096  # tokens above which a row gets no branches
_MIN_SHARED = 0.25  # part of a row that it must share with that of another request to become its branch
_LONG_CONTEXT = 2048  # tokens from which even a single request's context is computed as a prefix
_PREFIX_COST = 256  # tokens that a shared prefix must save: it takes forward passes of its own


def plan_groups(rows: Sequence[Row], max_tokens: int, window: int = sys.maxsize) -> list[Group]:
    """Merge rows into trees, behind shared prefixes where these save enough.

    Parameters
    ----------
    rows : sequence of Row
        In lexicographic order of their tokens, or its reverse; none is a prefix of another.
    max_tokens : int
        Trees get no branches beyond this many tokens, unless their longest row is nearly as long.
    window : int
        The same bound for a tree with its prefix, without exception.
    """
    # the token that predicts the first scored token stays in the row, because its logits are needed
    common = [
        min(common_length(row.tokens, following.tokens), row.first, following.first)
        for row, following in pairwise(rows)
    ]
    requests = [row.targets[0].indices[0] for row in rows]
    groups = []
    for shared in plan_prefixes(common, _PREFIX_COST, requests, _LONG_CONTEXT):
        members = [rows[index] for index in shared.members]
        prefix = members[0].tokens[: shared.length]
        limit = window - len(prefix) if prefix else min(_LARGEST_TREE, window)
        trees = _merge_neighbours(members, len(prefix), min(_TREE_TOKENS, max_tokens), limit)
        if prefix or not all(tree.linear for tree in trees):  # linear rows are faster without a mask
            width = min(max(len(prefix), _ROW_WIDTH[0]), _ROW_WIDTH[1], max_tokens, limit)
            trees = _pack(trees, width)
        groups.append(Group(prefix, trees))
    return groups


def _merge_neighbours(rows: Sequence[Row], prefix: int, max_tokens: int, limit: int) -> list[Tree]:
    """Merge neighbouring rows into trees if they belong to the same request or share enough tokens.

    A tree has at most `max_tokens` tokens, or half as many again as its last row, but never more than `limit`.
    """
    trees: list[Tree] = []
    members: list[Row] = []
    size = 0
    for row in rows:
        length = len(row.tokens) - prefix
        shared = common_length(members[-1].tokens, row.tokens) - prefix if members else 0
        full = size + length - shared > min(limit, max(max_tokens, length + length // 2))
        same_request = members and members[-1].targets[0].indices[0] == row.targets[0].indices[0]
        if members and (full or shared < (1 if same_request else _MIN_SHARED * length)):
            trees.append(build_tree(members, prefix))
            members, size, shared = [], 0, 0
        members.append(row)
        size += length - shared
    trees.append(build_tree(members, prefix))
    return trees


def _pack(trees: Sequence[Tree], width: int) -> list[Tree]:
    """Pack trees into rows of at most `width` tokens (best-fit decreasing bin packing)."""
    free: list[tuple[int, int]] = []  # free tokens and index of each row, ascending
    rows: list[list[Tree]] = []
    for tree in sorted(trees, key=lambda tree: -len(tree.tokens)):
        size = len(tree.tokens)
        index = bisect_left(free, (size, 0))
        if index < len(free):
            left, row = free.pop(index)
        else:
            left, row = max(width, size), len(rows)
            rows.append([])
        rows[row].append(tree)
        insort(free, (left - size, row))
    return [concatenate(row) for row in rows]
