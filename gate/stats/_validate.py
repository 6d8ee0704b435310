"""Checks of arguments: every error names the argument, what was expected and what was found."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = Sequence[int] | NDArray[np.int64] | NDArray[np.int32]
"""Integer counts, one per task."""

_LARGEST_COUNT = 2**53


def counts(name: str, values: ArrayLike) -> NDArray[np.int64]:
    """Return `values` as int64, or raise ValueError where they are not non-negative whole numbers."""
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name}: expected non-negative integers, found data of type {array.dtype}")
    if array.size and array.dtype.kind == "f":
        wrong = ~(np.isfinite(array) & (array == np.floor(array)))
        if wrong.any():
            raise ValueError(f"{name}: expected non-negative integers, found {array[wrong].flat[0]}")
    if array.size and (array < 0).any():
        raise ValueError(f"{name}: expected non-negative integers, found {array[array < 0].flat[0]}")
    if array.size and (array > _LARGEST_COUNT).any():
        raise ValueError(f"{name}: expected counts up to 2**53, found {array.max()}")
    return array.astype(np.int64)


def pair(b: ArrayLike, c: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the two discordant counts as int64 arrays of one shape."""
    left, right = counts("b", b), counts("c", c)
    try:
        first, second = np.broadcast_arrays(left, right)
    except ValueError:
        raise ValueError(
            f"b and c: expected one shape (the same tasks), found {left.shape} and {right.shape}"
        ) from None
    return first, second


def task_pairs(b: ArrayLike, c: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the discordant counts as one-dimensional arrays over at least one task."""
    first, second = pair(b, c)
    if first.ndim > 1:
        raise ValueError(f"b and c: expected one count per task, found arrays of {first.ndim} dimensions")
    first, second = np.atleast_1d(first), np.atleast_1d(second)
    if first.size == 0:
        raise ValueError("b and c: expected at least one task, found none")
    return first, second


def triple(
    b: ArrayLike, c: ArrayLike, n: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return b, c and n as int64 arrays of one shape, with b + c <= n and n >= 1."""
    first, second = pair(b, c)
    total = counts("n", n)
    try:
        first, second, total = np.broadcast_arrays(first, second, total)
    except ValueError:
        raise ValueError(
            f"b, c and n: expected one shape (the same tasks), found {first.shape} and {total.shape}"
        ) from None
    if (total < 1).any():
        raise ValueError("n: expected at least one item per task, found 0")
    excess = first + second > total
    if excess.any():
        at = int(np.flatnonzero(excess)[0])
        raise ValueError(
            "b + c: expected at most n discordant pairs, found "
            f"{first.flat[at]} + {second.flat[at]} > {total.flat[at]}"
        )
    return first, second, total


def open_unit(name: str, value: float) -> float:
    """Return `value`, or raise ValueError where it is not strictly between 0 and 1."""
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name}: expected a number strictly between 0 and 1, found {value}")
    return float(value)


def proportion(name: str, value: float) -> float:
    """Return `value`, or raise ValueError where it is not between 0 and 1."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name}: expected a proportion between 0 and 1, found {value}")
    return float(value)


def p_values(name: str, values: ArrayLike) -> FloatArray:
    """Return `values` as a one-dimensional float array of p-values."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected a sequence of p-values, found an array of shape {array.shape}")
    wrong = ~((array >= 0.0) & (array <= 1.0))
    if wrong.any():
        raise ValueError(f"{name}: expected p-values between 0 and 1, found {array[wrong][0]}")
    return array


def at_least(name: str, value: int, smallest: int) -> int:
    """Return `value`, or raise ValueError where it is below `smallest`."""
    if value < smallest:
        raise ValueError(f"{name}: expected an integer of at least {smallest}, found {value}")
    return int(value)
