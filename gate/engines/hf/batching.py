"""Batches of similar length, bounded by tokens, that shrink when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gate.errors import EvaluationError

_LOG = logging.getLogger(__name__)


@dataclass
class BatchLimit:
    """Upper bound of rows x padded length, in tokens; it only ever shrinks, and stays shrunk."""

    tokens: int

    def halve(self, used: int) -> None:
        """Take half of what a failed batch used as the new bound."""
        self.tokens = max(1, min(self.tokens, used) // 2)


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
) -> None:
    """Call `forward` with lists of row indices until every row is done, longest rows first.

    The longest come first so that memory runs out at the start if it ever does, and so that the rows of
    a batch differ little in length.

    Parameters
    ----------
    lengths : sequence of int
        Tokens of each row.
    limit : BatchLimit
        Shared between calls; halved where memory runs out.
    forward : callable
        Does the rows given by index; must not keep results of a call that raises.
    is_out_of_memory : callable
        Tells an out-of-memory error from all others.
    free_memory : callable
        Called after an out-of-memory error.
    multiple : int
        Rows are padded to a multiple of this.

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
        try:
            forward(rows)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            failed = True
        else:
            failed = False
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
        limit.halve(len(rows) * width)
        _LOG.warning("out of memory: batches are now at most %d tokens", limit.tokens)
