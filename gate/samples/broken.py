"""Which generated texts of paired items are broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gate.common.broken import PROBLEMS, SHORTEST_LOOP, loops

if TYPE_CHECKING:
    from gate.samples.pairing import PairedTask

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class BrokenTexts:
    """The broken texts of one side.

    Attributes
    ----------
    problems : dict of str to bool array of shape (n,)
        By problem (`gate.common.broken.PROBLEMS`). "truncated" is missing if no text tells why it ended.
    """

    problems: dict[str, Flags]

    @property
    def broken(self) -> Flags:
        """Whether each text has any problem."""
        flags: Flags = np.logical_or.reduce(list(self.problems.values()))
        return flags


def broken_texts(pair: PairedTask) -> tuple[BrokenTexts, BrokenTexts] | None:
    """Return the broken texts of the baseline and of the candidate; None for a task without generated texts.

    Samples of older versions and of other tools do not record problems: these are found in the stored output. Such a
    task counts as one of generated texts only if one of them is broken.
    """
    sides = [pair.baseline, pair.candidate]
    recorded = any(table.column("problems").null_count < len(table) for table in sides)
    if not recorded and any(_has_choices(table) for table in sides):
        return None
    baseline, candidate = (_texts(table) for table in sides)
    if not recorded and not (baseline.broken.any() or candidate.broken.any()):
        return None
    return baseline, candidate


def joined_problems(problems: Sequence[str | None]) -> str | None:
    """Return the problems of several answers to one item: those of any of them."""
    known = [text for text in problems if text is not None]
    names = {name for text in known for name in text.split()}
    return " ".join(name for name in PROBLEMS if name in names) if known else None


def _has_choices(table: pa.Table) -> bool:
    return any(table.column(name).null_count < len(table) for name in ("choices", "choice_logprobs"))


def _texts(table: pa.Table) -> BrokenTexts:
    recorded = table.column("problems")
    words = pc.split_pattern(recorded, " ")
    flat, parents = pc.list_flatten(words), pc.list_parent_indices(words)
    flags = {name: np.zeros(len(table), dtype=np.bool_) for name in PROBLEMS}
    for name in PROBLEMS:
        flags[name][parents.filter(pc.equal(flat, name)).to_numpy()] = True
    if recorded.null_count:
        unknown = recorded.is_null().to_numpy()
        for name, found in _found(table).items():
            flags[name] |= unknown & found
    if table.column("finish_reason").null_count == len(table) and not flags["truncated"].any():
        del flags["truncated"]
    return BrokenTexts(flags)


def _found(table: pa.Table) -> dict[str, Flags]:
    """Return the problems that show in the stored output; an output that is null was not recorded."""
    output = table.column("output")
    loop = np.zeros(len(table), dtype=np.bool_)
    long = np.flatnonzero(pc.fill_null(pc.greater_equal(pc.utf8_length(output), SHORTEST_LOOP), False).to_numpy())
    loop[long] = [loops(text) for text in output.take(long).to_pylist()]
    return {
        "truncated": _flags(pc.equal(table.column("finish_reason"), "length")),
        "empty": _flags(pc.equal(pc.utf8_trim_whitespace(output), "")),
        "loop": loop,
        "unclosed": _flags(pc.invert(table.column("reasoning_closed"))),
    }


def _flags(column: pa.ChunkedArray) -> Flags:
    flags: Flags = pc.fill_null(column, False).to_numpy()
    return flags
