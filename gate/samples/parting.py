"""Where the generated texts of two models part."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gate.samples.pairing import PairedTask

IntArray = npt.NDArray[np.int64]
Unit = Literal["tokens", "words"]


@dataclass(frozen=True)
class Parting:
    """How long the texts of the two models agree.

    Attributes
    ----------
    unit : {"tokens", "words"}
        words: words at white space, where a side does not store token ids.
    prefix : int64 array
        Length of the common beginning of each pair of texts.
    equal : bool array
        Whether the texts are equal to the end.
    """

    unit: Unit
    prefix: IntArray
    equal: npt.NDArray[np.bool_]

    def agreeing(self, length: int) -> float:
        """Return the share of texts that agree in their first `length` units, or to the end."""
        return float((self.equal | (self.prefix >= length)).mean())


def parting(pair: PairedTask) -> Parting | None:
    """Return where the texts of a task part; None unless both sides generated text."""
    tables = pair.baseline, pair.candidate
    sides: list[list[npt.NDArray[Any]] | None] = [_tokens(table) for table in tables]
    unit: Unit = "tokens"
    if any(side is None for side in sides):
        if pair.baseline.column("choices").null_count < pair.n or pair.baseline.column("finish_reason").null_count:
            return None  # choices, or files of other tools, whose output need not be a text
        unit = "words"
        sides = [_words(table) for table in tables]
    first, second = sides
    if first is None or second is None:
        return None
    prefix = np.array([_common(a, b) for a, b in zip(first, second, strict=True)], np.int64)
    equal = np.array([len(a) == len(b) == count for a, b, count in zip(first, second, prefix, strict=True)])
    return Parting(unit, prefix, equal)


def _tokens(table: pa.Table) -> list[npt.NDArray[Any]] | None:
    column = table.column("text_tokens").combine_chunks()
    if column.null_count or not len(column):
        return None
    values, offsets = column.values.to_numpy(), column.offsets.to_numpy()
    return [values[start:end] for start, end in pairwise(offsets)]


def _words(table: pa.Table) -> list[npt.NDArray[Any]] | None:
    column = table.column("output")
    return None if column.null_count else [np.array(text.split()) for text in column.to_pylist()]


def _common(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> int:
    size = min(len(a), len(b))
    differ = np.flatnonzero(a[:size] != b[:size])
    return int(differ[0]) if len(differ) else size
