"""Continuous batching: finished sequences free their pages immediately, and the next prompts are admitted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import torch

from gate.engines.hf.generation.paged import supports_shared_prefix
from gate.engines.hf.generation.paged_model import PagedModel
from gate.engines.hf.generation.prefill import prefill
from gate.engines.hf.generation.scheduler import MIN_SHARED_TOKENS, Scheduler
from gate.engines.hf.generation.sequence import TokenSequence, append_tokens, sample_next
from gate.engines.hf.model.batching import BatchLimit
from gate.engines.hf.model.load import LoadedModel
from gate.engines.hf.model.memory import is_out_of_memory
from gate.errors import EvaluationError

_LOG = logging.getLogger(__name__)
_PAGE_SIZE = 16  # tokens; on average half of a sequence's last page is unused


def generate_continuous(
    loaded: LoadedModel,
    sequences: Sequence[TokenSequence],
    limit: BatchLimit,
    on_finished: Callable[[TokenSequence], None],
) -> None:
    """Generate every sequence to its end.

    The caller has checked that `gate.engines.hf.generation.paged.paging_obstacle` finds none. `limit` bounds the
    tokens in the KV cache, and shrinks when memory runs out. The pages that a decode step copies come on top: at most
    half of `limit`.

    Raises
    ------
    EvaluationError
        A single sequence does not fit into memory, or the logits are NaN.
    """
    generation = _Generation(loaded, sequences, limit)
    while generation.scheduler.has_work:
        started = time.perf_counter()
        try:
            finished = generation.step()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            finished = None
        limit.seconds += time.perf_counter() - started
        # outside `except`: a live traceback would keep the tensors of the failed pass alive
        if finished is None:
            limit.wasted += time.perf_counter() - started
            generation.recover()
        else:
            for sequence in finished:
                on_finished(sequence)


class _Generation:
    """The scheduler and the paged model of one call."""

    def __init__(self, loaded: LoadedModel, sequences: Sequence[TokenSequence], limit: BatchLimit) -> None:
        self._loaded, self._limit = loaded, limit
        self.scheduler = Scheduler(sequences, loaded.capabilities.cache_layers)
        long = self.scheduler.longest_prefix >= MIN_SHARED_TOKENS
        self._can_share = long and supports_shared_prefix(loaded)
        self._start()

    def step(self) -> list[TokenSequence]:
        """Generate one token of each running sequence; return the finished sequences."""
        admission = self.scheduler.schedule()
        if admission is not None:
            copied = max(1, self._budget.limit // 2) * _PAGE_SIZE  # tokens per layer
            num_layers = self._loaded.capabilities.cache_layers
            prefill(self._paged, admission, self._limit.tokens, copied * num_layers)
        running = self.scheduler.running
        logits = self._paged.decode(
            [sequence.index for sequence in running],
            [(sequence.generated or sequence.prompt)[-1] for sequence in running],
            [sequence.length - 1 for sequence in running],
            self.scheduler.uses_shared_prefix,
        )
        flags = append_tokens(self._loaded.tokenizer, running, sample_next(running, logits))
        finished = [sequence for sequence, flag in zip(running, flags, strict=True) if flag]
        self.scheduler.finish(finished)
        return finished

    def recover(self) -> None:
        """Restart after an out-of-memory error with half the memory. Generated tokens are kept."""
        running = self.scheduler.running
        longest = max(sequence.length for sequence in running)
        hopeless = len(running) == 1 and self._limit.tokens <= longest
        kv = self._paged.kv
        # where allocating the cache failed, all its pages were too many
        pages = kv.num_used_pages if self._paged.is_allocated else kv.num_pages
        self.scheduler.preempt_all()
        del self._paged
        torch.cuda.empty_cache()
        if hopeless:
            raise EvaluationError(
                f"out of memory with a single sequence of {longest} tokens.",
                "Use a device with more memory, shorter prompts, or a smaller dtype.",
            )
        self._limit.shrink(pages * _PAGE_SIZE)
        _LOG.warning("out of memory: batches are now at most %d tokens", self._limit.tokens)
        self._start()

    def _start(self) -> None:
        """Make a cache for the waiting sequences."""
        self._budget = self.scheduler.page_budget(self._limit.tokens, _PAGE_SIZE)
        self._paged = PagedModel(self._loaded, self._budget.total, _PAGE_SIZE)
        self.scheduler.start(self._paged.kv, self._budget, self._can_share)
