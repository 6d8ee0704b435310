"""Argument checks: every error names the argument, what was expected and what was found."""

import operator
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
Counts: TypeAlias = Sequence[int] | NDArray[np.int64] | NDArray[np.int32]
"""Integer counts, one per task."""

RNG: TypeAlias = int | np.random.Generator | None
"""A seed, a generator to draw the seed from, or None for a seed from the operating system."""

_MAX_COUNT = 2**53


def counts(name: str, values: ArrayLike) -> IntArray:
    """Return `values` as int64; raise ValueError unless they are non-negative whole numbers."""
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name}: expected non-negative integers, found data of type {array.dtype}")
    if array.size and array.dtype.kind == "f":
        wrong = ~(np.isfinite(array) & (array == np.floor(array)))
        if wrong.any():
            raise ValueError(f"{name}: expected non-negative integers, found {array[wrong].flat[0]}")
    if array.size and (array < 0).any():
        raise ValueError(f"{name}: expected non-negative integers, found {array[array < 0].flat[0]}")
    if array.size and (array > _MAX_COUNT).any():
        raise ValueError(f"{name}: expected counts up to 2**53, found {array.max()}")
    return array.astype(np.int64)


def pair(b: ArrayLike, c: ArrayLike) -> tuple[IntArray, IntArray]:
    """Return the two discordant counts as int64 arrays of one shape."""
    left, right = counts("b", b), counts("c", c)
    try:
        regressions, improvements = np.broadcast_arrays(left, right)
    except ValueError:
        raise ValueError(
            f"b and c: expected the same shape (one count per task), found {left.shape} and {right.shape}"
        ) from None
    return regressions, improvements


def task_pairs(b: ArrayLike, c: ArrayLike) -> tuple[IntArray, IntArray]:
    """Return the discordant counts as one-dimensional arrays over at least one task."""
    regressions, improvements = pair(b, c)
    if regressions.ndim > 1:
        raise ValueError(
            f"b and c: expected one count per task, found arrays of {regressions.ndim} dimensions"
        )
    if regressions.size == 0:
        raise ValueError("b and c: expected at least one task, found none")
    return np.atleast_1d(regressions), np.atleast_1d(improvements)


def triple(b: ArrayLike, c: ArrayLike, n: ArrayLike) -> tuple[IntArray, IntArray, IntArray]:
    """Return b, c and n as int64 arrays of one shape, with b + c <= n and n >= 1."""
    regressions, improvements = pair(b, c)
    total = counts("n", n)
    try:
        regressions, improvements, total = np.broadcast_arrays(regressions, improvements, total)
    except ValueError:
        raise ValueError(
            "b, c and n: expected the same shape (one count per task), "
            f"found {regressions.shape} and {total.shape}"
        ) from None
    if (total < 1).any():
        raise ValueError("n: expected at least one item per task, found 0")
    excess = regressions + improvements > total
    if excess.any():
        index = int(np.flatnonzero(excess)[0])
        raise ValueError(
            "b + c: expected at most n discordant pairs, found "
            f"{regressions.flat[index]} + {improvements.flat[index]} > {total.flat[index]}"
        )
    return regressions, improvements, total


def open_unit(name: str, value: float) -> float:
    """Return `value`; raise ValueError unless it is strictly between 0 and 1."""
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name}: expected a number strictly between 0 and 1, found {value}")
    return float(value)


def proportion(name: str, value: float) -> float:
    """Return `value`; raise ValueError unless it is between 0 and 1."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name}: expected a proportion between 0 and 1, found {value}")
    return float(value)


def pvalues(name: str, values: ArrayLike) -> FloatArray:
    """Return `values` as a one-dimensional array; raise ValueError unless all are p-values."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected a sequence of p-values, found an array of shape {array.shape}")
    wrong = ~((array >= 0.0) & (array <= 1.0))
    if wrong.any():
        raise ValueError(f"{name}: expected p-values between 0 and 1, found {array[wrong][0]}")
    return array


def at_least(name: str, value: int, minimum: int) -> int:
    """Return `value`; raise ValueError if it is below `minimum`."""
    if value < minimum:
        raise ValueError(f"{name}: expected an integer of at least {minimum}, found {value}")
    return int(value)


def seed(rng: RNG) -> int:
    """Return the seed that `rng` stands for: itself, or one drawn from the generator or the system."""
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(1 << 63))
    if rng is None:
        return int(np.random.default_rng().integers(1 << 63))
    try:
        value = operator.index(rng)
    except TypeError:
        raise ValueError(f"rng: expected None, an integer or a numpy Generator, found {rng!r}") from None
    return at_least("rng", value, 0)
