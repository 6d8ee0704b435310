"""Which positions of an answer or text have their distributions stored: a seeded sample where there are many."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt


def text_seed(text: str) -> int:
    """Return a seed that depends on a text only, so that every run of every engine draws the same."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def position_keys(count: int, seed: int) -> npt.NDArray[np.float64]:
    """Return a random key per position; that of the first one is the smallest. They do not depend on `count`."""
    keys = np.random.default_rng([seed, 1]).random(count)
    keys[:1] = -1.0
    return keys


def chosen_positions(count: int, most: int, seed: int) -> list[int]:
    """Return the first of `count` positions and a simple random sample of the others, at most `most` in all, sorted.

    They are the positions with the smallest keys, so a text that becomes longer replaces some of them by later ones.
    """
    if count <= most:
        return list(range(count))
    return sorted(np.argpartition(position_keys(count, seed), most - 1)[:most].tolist()) if most > 0 else []
