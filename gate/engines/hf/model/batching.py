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

import torch

from gate.engines.hf.model.memory import is_out_of_memory
from gate.errors import EvaluationError

_MAX_WASTED = 0.05  # share of the time that may go into batches that run out of memory

_LOG = logging.getLogger(__name__)


@dataclass
class BatchLimit:
    """Upper bound of a batch, rows x padded length, in tokens. It only ever shrinks.

    `seconds` is the time spent on all batches so far, `wasted` the part of it spent on the `failures` batches that ran
    out of memory.
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
    release_memory: Callable[[], None] = torch.cuda.empty_cache,
    extra: Sequence[float] | None = None,
) -> None:
    """Call `forward` with lists of row indices until every row is processed, longest rows first.

    Parameters
    ----------
    lengths : sequence of int
        Tokens of each row.
    limit : BatchLimit
        Shared between calls; shrinks when memory runs out.
    forward : callable
        Must not keep results when it raises.
    release_memory : callable
        Called after an out-of-memory error.
    extra : sequence of float, optional
        Memory that each row takes in addition to its padded length, in tokens.

    Raises
    ------
    EvaluationError
        A single row does not fit.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    start = 0
    while start < len(order):
        width = lengths[order[start]]
        rows: list[int] = []
        used = 0.0
        for row in order[start : start + max(1, limit.tokens // width)]:
            size = width + (extra[row] if extra else 0)
            if rows and used + size > limit.tokens:
                break
            rows.append(row)
            used += size
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
        limit.shrink(math.ceil(used))
        _LOG.warning("out of memory: batches are now at most %d tokens", limit.tokens)
