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
    wrong = array < 0
    if array.dtype.kind == "f":
        wrong = wrong | ~np.isfinite(array) | (array != np.floor(array))
    if wrong.any():
        raise ValueError(f"{name}: expected non-negative integers, found {array[wrong].flat[0]}")
    if (array > _MAX_COUNT).any():
        raise ValueError(f"{name}: expected counts up to 2**53, found {array.max()}")
    return array.astype(np.int64)


def _same_shape(names: str, *arrays: IntArray) -> tuple[IntArray, ...]:
    try:
        return np.broadcast_arrays(*arrays)
    except ValueError:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ValueError(f"{names}: expected the same shape (one count per task), found {shapes}") from None


def pair(b: ArrayLike, c: ArrayLike) -> tuple[IntArray, ...]:
    """Return the two discordant counts as int64 arrays of one shape."""
    return _same_shape("b and c", counts("b", b), counts("c", c))


def triple(
    b: ArrayLike, c: ArrayLike, n: ArrayLike, *, allow_no_items: bool = False
) -> tuple[IntArray, IntArray, IntArray]:
    """Return b, c and n as int64 arrays of one shape, with b + c <= n, and n >= 1 unless no items are allowed."""
    regressions, improvements, total = _same_shape("b, c and n", *pair(b, c), counts("n", n))
    if not allow_no_items and (total < 1).any():
        raise ValueError("n: expected at least one item per task, found 0")
    excess = regressions + improvements > total
    if excess.any():
        index = int(np.flatnonzero(excess)[0])
        raise ValueError(
            "b + c: expected at most n discordant pairs, found "
            f"{regressions.flat[index]} + {improvements.flat[index]} > {total.flat[index]}"
        )
    return regressions, improvements, total


def open_unit(name: str, value: float) -> None:
    """Raise ValueError unless `value` is strictly between 0 and 1."""
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name}: expected a number strictly between 0 and 1, found {value}")


def proportions(name: str, values: ArrayLike) -> None:
    """Raise ValueError unless all values are between 0 and 1."""
    array = np.asarray(values, dtype=np.float64)
    wrong = ~((array >= 0.0) & (array <= 1.0))
    if wrong.any():
        raise ValueError(f"{name}: expected a proportion between 0 and 1, found {array[wrong][0]}")


def pvalues(name: str, values: ArrayLike) -> FloatArray:
    """Return `values` as a one-dimensional array; raise ValueError unless all are p-values."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected a sequence of p-values, found an array of shape {array.shape}")
    wrong = ~((array >= 0.0) & (array <= 1.0))
    if wrong.any():
        raise ValueError(f"{name}: expected p-values between 0 and 1, found {array[wrong][0]}")
    return array


def at_least(name: str, value: int, minimum: int) -> None:
    """Raise ValueError if `value` is below `minimum`."""
    if value < minimum:
        raise ValueError(f"{name}: expected an integer of at least {minimum}, found {value}")


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
    at_least("rng", value, 0)
    return value
