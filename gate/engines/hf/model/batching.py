"""Batches of similar length, bounded by tokens, that shrink when memory runs out.

Rows are taken longest first, as many as fit, so a batch's rows differ little in length. Padding over a whole call is at
most limit x ln(longest / shortest) tokens: a batch of n rows between a and b < a tokens long pads at most n (a - b)
<= limit (a - b) / a <= limit ln(a / b), and the batches' spans of length do not overlap.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gate.errors import EvaluationError

RETRIES = 0.05
"""Part of the time that batches which run out of memory may take."""

_LOG = logging.getLogger(__name__)


@dataclass
class BatchLimit:
    """Upper bound of rows x padded length, in tokens; it only ever shrinks, and stays shrunk.

    Attributes
    ----------
    tokens : int
    seconds, wasted : float
        Time that batches have taken under this bound, and how much of it in those that ran out of memory.
    failures : int
        How many did.
    """

    tokens: int
    seconds: float = 0.0
    wasted: float = 0.0
    failures: int = 0

    def shrink(self, used: int) -> None:
        """Take half of what a failed batch used as the new bound, an eighth where two halves did not do."""
        self.failures += 1
        part = 8 if self.failures > 2 and self.costly else 2
        self.tokens = max(1, min(self.tokens, used) // part)

    @property
    def costly(self) -> bool:
        """Whether batches that ran out of memory took more of the time than they may."""
        return self.wasted > RETRIES * self.seconds


def padded(length: int, multiple: int) -> int:
    """Round a length up to a multiple."""
    return -(-length // multiple) * multiple


def run_in_batches(
    lengths: Sequence[int],
    limit: BatchLimit,
    forward: Callable[[list[int]], None],
    is_out_of_memory: Callable[[BaseException], bool],
    free_memory: Callable[[], None] = lambda: None,
    multiple: int = 1,
    extra: Sequence[float] = (),
) -> None:
    """Call `forward` with lists of row indices until every row is done, longest rows first.

    The longest come first so that memory runs out at the start if it ever does, and so that the rows of
    a batch differ little in length.

    Parameters
    ----------
    lengths : sequence of int
        Tokens of each row.
    limit : BatchLimit
        Shared between calls; shrunk where memory runs out.
    forward : callable
        Does the rows given by index; must not keep results of a call that raises.
    is_out_of_memory : callable
        Tells an out-of-memory error from all others.
    free_memory : callable
        Called after an out-of-memory error.
    multiple : int
        Rows are padded to a multiple of this.
    extra : sequence of float
        What each row takes beside its padded length, in tokens; empty for nothing.

    Raises
    ------
    EvaluationError
        A single row does not fit.
    """
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    start = 0
    while start < len(order):
        width = padded(lengths[order[start]], multiple)
        rows = order[start : start + max(1, limit.tokens // width)]
        if extra:
            rows = _within(rows, width, extra, limit.tokens)
        began = time.perf_counter()
        try:
            forward(rows)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            failed = True
        else:
            failed = False
        spent = time.perf_counter() - began
        limit.seconds += spent
        limit.wasted += spent * failed
        # outside `except`: a live traceback would keep the failed batch's tensors alive
        if not failed:
            start += len(rows)
            continue
        free_memory()
        if len(rows) == 1:
            raise EvaluationError(
                f"out of memory with a single prompt of {width} tokens.",
                "Use a device with more memory, shorter prompts, or a smaller dtype.",
            )
        # the bound counts what rows take beside their tokens, so what failed may have been far below it
        limit.shrink(math.ceil(len(rows) * width + sum(extra[row] for row in rows if extra)))
        _LOG.warning("out of memory: batches are now at most %d tokens", limit.tokens)


def _within(rows: list[int], width: int, extra: Sequence[float], tokens: int) -> list[int]:
    """Return the first rows that fit, at least one."""
    used = 0.0
    for number, row in enumerate(rows):
        used += width + extra[row]
        if number and used > tokens:
            return rows[:number]
    return rows
