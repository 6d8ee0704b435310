"""Batches of rows of similar length, bounded in tokens; the bound shrinks when memory runs out.

Rows are taken longest first, as many as fit, so the rows of a batch differ little in length. Padding over a whole call
is at most limit x ln(longest / shortest) tokens: a batch of n rows with lengths from b to a > b pads at most n (a - b)
<= limit (a - b) / a <= limit ln(a / b) tokens, and the length ranges of batches do not overlap.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gate.engines.hf.model.memory import is_out_of_memory, release_cached_memory
from gate.errors import EvaluationError

_MAX_WASTED = 0.05  # share of the time that may go into batches that run out of memory

_LOG = logging.getLogger(__name__)


@dataclass
class BatchLimit:
    """Upper bound of a batch, rows x padded length, in tokens. It only ever shrinks.

    Attributes
    ----------
    tokens : int
    seconds : float
        Time spent on all batches so far.
    wasted : float
        Seconds spent on batches that ran out of memory.
    failures : int
        Number of batches that ran out of memory.
    """

    tokens: int
    seconds: float = 0.0
    wasted: float = 0.0
    failures: int = 0

    def shrink(self, used: int) -> None:
        """Set the bound to half of what a failed batch used, or to an eighth if two halvings were not enough."""
        self.failures += 1
        divisor = 8 if self.failures > 2 and self.costly else 2
        self.tokens = max(1, min(self.tokens, used) // divisor)

    @property
    def costly(self) -> bool:
        """Whether failed batches took more than 5 % of the time."""
        return self.wasted > _MAX_WASTED * self.seconds


def run_in_batches(
    lengths: Sequence[int],
    limit: BatchLimit,
    forward: Callable[[list[int]], None],
    release_memory: Callable[[], None] = release_cached_memory,
    extra: Sequence[float] = (),
) -> None:
    """Call `forward` with lists of row indices until every row is processed, longest rows first.

    If memory is too small, the first batches show it.

    Parameters
    ----------
    lengths : sequence of int
        Tokens of each row.
    limit : BatchLimit
        Shared between calls; shrinks when memory runs out.
    forward : callable
        Processes the rows with the given indices; must not keep results when it raises.
    release_memory : callable
        Called after an out-of-memory error.
    extra : sequence of float
        Memory that each row takes in addition to its padded length, in tokens; empty for none.

    Raises
    ------
    EvaluationError
        A single row does not fit.
    """
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    start = 0
    while start < len(order):
        width = lengths[order[start]]
        rows = order[start : start + max(1, limit.tokens // width)]
        if extra:
            rows = _fitting(rows, width, extra, limit.tokens)
        began = time.perf_counter()
        failed = False
        try:
            forward(rows)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            failed = True
        spent = time.perf_counter() - began
        limit.seconds += spent
        limit.wasted += spent * failed
        # outside `except`: a live traceback would keep the failed batch's tensors alive
        if not failed:
            start += len(rows)
            continue
        release_memory()
        if len(rows) == 1:
            raise EvaluationError(
                f"out of memory with a single prompt of {width} tokens.",
                "Use a device with more memory, shorter prompts, or a smaller dtype.",
            )
        # includes `extra`: the failed batch may have had far fewer tokens than the bound
        limit.shrink(math.ceil(len(rows) * width + sum(extra[row] for row in rows if extra)))
        _LOG.warning("out of memory: batches are now at most %d tokens", limit.tokens)


def _fitting(rows: list[int], width: int, extra: Sequence[float], tokens: int) -> list[int]:
    """Return the leading rows that fit, at least one."""
    used = 0.0
    for count, row in enumerate(rows):
        used += width + extra[row]
        if count and used > tokens:
            return rows[:count]
    return rows
