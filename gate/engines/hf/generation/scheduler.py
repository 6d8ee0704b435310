"""Which sequences run: admission while there are free pages, preemption when they run out."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gate.engines.hf.generation.kv_cache import KVCacheManager
from gate.engines.hf.generation.sequence import TokenSequence
from gate.engines.hf.model.prefixes import group_by_prefix

MIN_SHARED_TOKENS = 128
"""Length of a prefix from which shared-prefix attention is faster than plain attention, in tokens."""

_PREFIX_COST = 128  # tokens that a shared prefix must save, because it needs a prefill pass of its own
_MAX_SEQUENCES = 256  # larger batches are not faster per sequence, but their logits take memory
_EXPECTED_OUTPUT = 64  # tokens per sequence, until one has finished
_MIN_ADMITTED = 1 / 8  # relative to the running sequences; a prefill pass for fewer is too expensive
# Fraction of the expected growth (in pages) that admission keeps free. In simulations, reserving none of it causes too
# many preemptions, and reserving all of it leaves a third of the pages unused, because sequences finish meanwhile.
_WATERMARK = 0.25


class Waiting(NamedTuple):
    """A waiting sequence, and the prefix that it will be forked from (empty for none)."""

    sequence: TokenSequence
    prefix: tuple[int, ...]


@dataclass(frozen=True)
class PageBudget:
    """Numbers of pages.

    Attributes
    ----------
    limit : int
        The token budget in pages.
    usable : int
        Pages that the running sequences may use if there are several: `limit`, or all that they can ever need.
    total : int
        Pages of the cache: `usable`, but at least enough for the longest sequence alone.
    """

    limit: int
    usable: int
    total: int


@dataclass(frozen=True)
class Admission:
    """The sequences that start running in a step: all start with `prefix`, which may be empty.

    `prefills` need a prefill after the prefix. `forks` are pairs of a sequence and the running sequence that has all
    tokens of its prompt but the last in the cache.
    """

    prefix: tuple[int, ...]
    prefills: list[TokenSequence]
    forks: list[tuple[TokenSequence, TokenSequence]]


class Scheduler:
    """Admits, preempts and finishes sequences, of which there is at least one."""

    def __init__(self, sequences: Sequence[TokenSequence], num_layers: int) -> None:
        self.running: list[TokenSequence] = []
        self._waiting = _waiting_queue(sequences)
        self._prefixes = {sequence.index: prefix for sequence, prefix in self._waiting}
        self._num_layers = num_layers
        self._finished, self._finished_tokens = 0, 0

    @property
    def has_work(self) -> bool:
        """Whether a sequence is running or waiting."""
        return bool(self.running or self._waiting)

    @property
    def longest_prefix(self) -> int:
        """Length of the longest shared prefix, in tokens."""
        return max(map(len, self._prefixes.values()))

    @property
    def uses_shared_prefix(self) -> bool:
        """Whether the next decode step uses shared-prefix attention."""
        return len(self.running) > 1 and self._worth_sharing(self._kv.shared_pages(self._running_indices))

    def page_budget(self, token_budget: int, page_size: int) -> PageBudget:
        """Return the numbers of pages for the waiting sequences and a token budget."""
        lengths = [-(-sequence.max_length // page_size) for sequence, _ in self._waiting]
        shared = [len(prefix) // page_size for _, prefix in self._waiting]
        own = sorted((length - prefix for length, prefix in zip(lengths, shared, strict=True)), reverse=True)
        # one more, because a page in which a prefix ends is copied
        needed = sum(own[:_MAX_SEQUENCES]) + max(shared) + 1
        limit = token_budget // page_size
        usable = min(needed, limit)
        return PageBudget(limit, usable, max(max(lengths) + 1, usable))

    def start(self, kv: KVCacheManager, budget: PageBudget, can_share: bool) -> None:
        """Start with an empty cache. `can_share` tells whether the model supports shared-prefix attention."""
        self._kv, self._budget, self._can_share = kv, budget, can_share

    def preempt_all(self) -> None:
        """Put all running sequences back at the head of the queue, after their cache was lost."""
        for sequence in reversed(self.running):
            self._waiting.appendleft(Waiting(sequence, self._prefixes[sequence.index]))
        self.running = []

    def schedule(self) -> Admission | None:
        """Allocate a page to each running sequence that needs one, then admit waiting sequences to `running`.

        The caller allocates and prefills the admitted sequences.
        """
        self._append_pages()
        next_prefix = self._waiting[0].prefix if self._waiting else ()
        if next_prefix != self._kv.prefix and not self._kv.prefix_in_use:
            self._kv.free_prefix()
        admitted = [self._waiting.popleft() for _ in range(self._admissible())]
        if not admitted:
            return None
        # equal prompts are computed once
        sources = {sequence.prompt[:-1]: sequence for sequence in self.running}
        admission = Admission(admitted[0].prefix, [], [])
        for sequence, _ in admitted:
            source = sources.setdefault(tuple(sequence.tokens[:-1]), sequence)
            if source is sequence:
                admission.prefills.append(sequence)
            else:
                admission.forks.append((sequence, source))
        self.running += [sequence for sequence, _ in admitted]
        return admission

    def finish(self, sequences: Sequence[TokenSequence]) -> None:
        """Remove finished sequences and free their pages."""
        self._finished += len(sequences)
        self._finished_tokens += sum(len(sequence.generated) for sequence in sequences)
        for sequence in sequences:
            self._remove(sequence)

    @property
    def _running_indices(self) -> list[int]:
        return [sequence.index for sequence in self.running]

    def _remove(self, sequence: TokenSequence) -> None:
        self.running.remove(sequence)
        self._kv.free(sequence.index)

    def _append_pages(self) -> None:
        """Append a page to each sequence whose pages are full. Preempt the youngest while too few pages are free."""
        kv = self._kv
        while True:
            full = [s for s in self.running if s.length > kv.pages_held(s.index) * kv.page_size]
            if len(self.running) <= 1 or len(full) <= self._budget.usable - kv.num_used_pages:
                break
            self._preempt(min(reversed(self.running), key=lambda sequence: len(sequence.generated)))
        if kv.num_used_pages + len(full) > kv.num_pages:
            kv.free_prefix()
        for sequence in full:
            kv.append_page(sequence.index)

    def _preempt(self, sequence: TokenSequence) -> None:
        prefix = self._prefixes[sequence.index]
        self._waiting.appendleft(Waiting(sequence, prefix if prefix == self._kv.prefix else ()))
        self._remove(sequence)

    def _admissible(self) -> int:
        """Return the number of waiting sequences to admit: with one prefix, and enough of them for a prefill pass."""
        if not self._waiting:
            return 0
        kv, budget, prefix = self._kv, self._budget, self._waiting[0].prefix
        prefix_pages = len(prefix) // kv.page_size
        ends = [self._expected_pages(sequence) for sequence in self.running]
        used = kv.num_used_pages + (0 if kv.prefix == prefix else kv.pages_for(len(prefix)))
        growth = sum(
            max(0, end - kv.pages_held(sequence.index)) for sequence, end in zip(self.running, ends, strict=True)
        )
        longest = max(ends, default=0)
        # shared-prefix attention needs a prefix that all running sequences start with
        common = not self.running or (kv.prefix == prefix and kv.shared_pages(self._running_indices) == prefix_pages)
        shared = prefix_pages if common and self._worth_sharing(prefix_pages) else 0
        count, full = 0, False
        for sequence, own_prefix in self._waiting:
            if own_prefix != prefix:
                break
            now, end = kv.pages_for(sequence.length), self._expected_pages(sequence)
            used, growth, longest = used + now - prefix_pages, growth + end - now, max(longest, end)
            rows = len(self.running) + count + 1
            # Pages that a decode step copies, averaged over the layers: it gathers one layer at a time, but a shared
            # prefix once for all layers, with keys in float32.
            copied = rows * (longest - shared) // self._num_layers + 2 * shared
            full = rows > 1 and (
                rows > _MAX_SEQUENCES or used + _WATERMARK * growth > budget.usable or copied > budget.limit // 2
            )
            if full:
                break
            count += 1
        return 0 if full and count < (len(self.running) + count) * _MIN_ADMITTED else count

    def _expected_pages(self, sequence: TokenSequence) -> int:
        """Return the expected final pages of a sequence, from the mean output length of finished ones."""
        mean = self._finished_tokens // self._finished if self._finished else _EXPECTED_OUTPUT
        more = max(self._kv.page_size, mean - len(sequence.generated))
        return self._kv.pages_for(min(sequence.max_length, sequence.length + more))

    def _worth_sharing(self, pages: int) -> bool:
        return self._can_share and pages * self._kv.page_size >= MIN_SHARED_TOKENS


def _waiting_queue(sequences: Sequence[TokenSequence]) -> deque[Waiting]:
    """Return the sequences grouped by prefix."""
    groups = []
    # groups and their sequences longest first: if memory is too small, the first batches show it
    for shared in group_by_prefix([sequence.prompt[:-1] for sequence in sequences], _PREFIX_COST):
        members = [sequences[member] for member in shared.members]
        members.sort(key=lambda sequence: (-sequence.max_length, sequence.prompt))
        groups.append([Waiting(member, members[0].prompt[: shared.length]) for member in members])
    groups.sort(key=lambda group: -group[0].sequence.max_length)
    return deque(waiting for group in groups for waiting in group)
