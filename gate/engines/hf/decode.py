"""Texts written side by side in slots; when one ends, the next prompt takes its slot at once."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from gate.engines.hf.batching import BatchLimit
from gate.engines.hf.choose import choose
from gate.engines.hf.families import families
from gate.engines.hf.load import LoadedModel
from gate.engines.hf.memory import free_memory, is_out_of_memory
from gate.engines.hf.slots import Prefix, SlotCache
from gate.engines.hf.writing import Writing, extend
from gate.errors import EvaluationError

_LOG = logging.getLogger(__name__)
_MOST_ROWS = 256  # more make no step cheaper, but their logits take memory
_FIRST_GUESS = 64  # new tokens of a text, before any has ended
_FEW = 8  # a pass that reads prompts is worth it from an eighth of the slots on
_GROWTH = 32  # positions by which slots grow: growing copies them all


def decode(
    loaded: LoadedModel,
    rows: Sequence[Writing],
    layers: int,
    limit: BatchLimit,
    multiple: int,
    done: Callable[[Writing], None],
) -> None:
    """Write every text to its end.

    Parameters
    ----------
    loaded : LoadedModel
        A model that `gate.engines.hf.slotted.why_not` has nothing against.
    rows : sequence of Writing
        None is made yet.
    layers : int
    limit : BatchLimit
        Upper bound of slots x positions held in memory; shrunk where memory runs out.
    multiple : int
        Widths are rounded up to it.
    done : callable
        Told of each text at its end.

    Raises
    ------
    EvaluationError
        A single text does not fit, or the logits are NaN.
    """
    loop = _Loop(loaded, rows, layers, limit, multiple)
    while loop.active or loop.waiting:
        started = time.perf_counter()
        try:
            ended = loop.advance()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            ended = None
        limit.seconds += time.perf_counter() - started
        # outside `except`: a live traceback would keep the failed pass's tensors alive
        if ended is None:
            limit.wasted += time.perf_counter() - started
            loop.recover()
        else:
            for row in ended:
                done(row)


class _Loop:
    """The slots, who is in them, and who waits.

    Text n of `active` is in slot n. Those that wait are in the order of their families, a family's longest first, so
    that memory runs out at the start if it ever does; each comes with the length of its family's shared prefix.
    """

    def __init__(
        self, loaded: LoadedModel, rows: Sequence[Writing], layers: int, limit: BatchLimit, multiple: int
    ) -> None:
        self._loaded, self._layers, self._limit, self._multiple = loaded, layers, limit, multiple
        self.active: list[Writing] = []
        self.waiting = _in_order(rows)
        self._shared = {row.index: shared for row, shared in self.waiting}
        self._cache = self._fresh()
        self._prefix: Prefix = []
        self._prefix_tokens: tuple[int, ...] = ()
        self._ended, self._ended_tokens = 0, 0

    def advance(self) -> list[Writing]:
        """Let waiting texts in where there is room, write one token of each, and return the texts that ended."""
        coming = self._admitted()
        if coming:
            self._admit(coming)
        else:
            self._make_room()
        rows = self.active
        lengths = [row.length - 1 for row in rows]
        scores = self._cache.step(
            [(row.made or row.prompt)[-1] for row in rows], lengths, self._loaded.device
        )
        tokens = choose(
            scores,
            [row.temperature for row in rows],
            [row.key for row in rows],
            [len(row.made) for row in rows],
        )
        flags = extend(self._loaded.tokenizer, rows, tokens)
        ended = [row for row, flag in zip(rows, flags, strict=True) if flag]
        self._ended += len(ended)
        self._ended_tokens += sum(len(row.made) for row in ended)
        for slot in reversed([slot for slot, flag in enumerate(flags) if flag]):
            self._leave(slot)
        return ended

    def recover(self) -> None:
        """Go on after an out-of-memory error with half the memory; texts in progress keep what they have made."""
        longest = max(row.length for row in self.active)
        tried = self._cache.slots * self._cache.capacity
        single = self._cache.slots == 1
        for row in reversed(self.active):
            self.waiting.appendleft((row, self._shared[row.index]))
        self.active = []
        self._cache, self._prefix, self._prefix_tokens = self._fresh(), [], ()
        free_memory()
        if single:
            raise EvaluationError(
                f"out of memory with a single text of {longest} tokens.",
                "Use a device with more memory, shorter prompts, or a smaller dtype.",
            )
        self._limit.shrink(tried)
        _LOG.warning("out of memory: batches are now at most %d tokens", self._limit.tokens)

    def _fresh(self) -> SlotCache:
        return SlotCache(self._loaded.model, self._layers, self._multiple)

    def _expected(self, row: Writing) -> int:
        """Return the tokens that a text is expected to hold at its end, from those that have ended."""
        guess = max(_FIRST_GUESS // 4, 2 * self._ended_tokens // self._ended) if self._ended else _FIRST_GUESS
        return min(row.longest, row.length + guess)

    def _admitted(self) -> list[tuple[Writing, int]]:
        """Return the waiting texts that come in now: all of one family, and enough of them to be worth a pass."""
        if not self.waiting:
            return []
        shared = self.waiting[0][1]
        width = max(map(self._expected, self.active), default=0)
        family = self.waiting[0][0].prompt[:shared]
        room = self._limit.tokens - shared
        count, full = 0, False
        for row, own in self.waiting:
            if own != shared or row.prompt[:shared] != family:
                break
            width = max(width, self._expected(row))
            rows = len(self.active) + count + 1
            full = rows > _MOST_ROWS or (rows > 1 and rows * width > room)
            if full:
                break
            count += 1
        if full and count < (len(self.active) + count) / _FEW:
            return []
        return [self.waiting.popleft() for _ in range(count)]

    def _admit(self, coming: Sequence[tuple[Writing, int]]) -> None:
        """Give the texts slots and read all but their last token, which the next step puts in."""
        shared = coming[0][1]
        prefix = coming[0][0].prompt[:shared]
        held = {row.prompt[:-1]: slot for slot, row in enumerate(self.active)}
        # equal prompts are read once and copied; those to be read get neighbouring slots
        fresh: list[Writing] = []
        copies: list[tuple[Writing, int]] = []
        for row, _ in coming:
            tokens = tuple(row.tokens[:-1])
            if tokens in held:
                copies.append((row, held[tokens]))
            else:
                held[tokens] = len(self.active) + len(fresh)
                fresh.append(row)
        first = len(self.active)
        self.active += [*fresh, *(row for row, _ in copies)]
        self._resize()
        if shared and fresh:
            if self._prefix_tokens != prefix:
                self._cache.read([prefix], first, 0, self._loaded.device)
                self._prefix, self._prefix_tokens = self._cache.take(first, shared), prefix
            self._cache.put(self._prefix, first, first + len(fresh))
        for part in _parts([row.length - 1 - shared for row in fresh], self._limit.tokens):
            tokens_of_part = [fresh[place].tokens[shared:-1] for place in part]
            if any(tokens_of_part):
                self._cache.read(tokens_of_part, first + part.start, shared, self._loaded.device)
        for slot, (row, source) in enumerate(copies, start=first + len(fresh)):
            self._cache.move(source, slot, row.length - 1)

    def _make_room(self) -> None:
        """Send texts back to wait while those in progress have outgrown the limit, the youngest first."""
        while len(self.active) > 1:
            width = max(row.length for row in self.active)
            if len(self.active) * width <= self._limit.tokens - len(self._prefix_tokens):
                break
            slot = min(range(len(self.active)), key=lambda place: (len(self.active[place].made), -place))
            row = self.active[slot]
            shared = self._shared[row.index]
            self.waiting.appendleft((row, shared if row.prompt[:shared] == self._prefix_tokens else 0))
            self._leave(slot)
        self._resize()

    def _resize(self) -> None:
        """Have a slot for each text in progress, long enough for its next token."""
        cache, rows = self._cache, len(self.active)
        needed = max(row.length for row in self.active)
        if rows <= cache.slots and needed <= cache.capacity:
            return
        room = self._limit.tokens - len(self._prefix_tokens)
        wished = max(needed + _GROWTH, *map(self._expected, self.active))
        capacity = max(needed, min(wished, max(row.longest for row in self.active), room // rows))
        slots = max(rows, min(cache.slots, room // capacity))
        cache.resize(slots, capacity, min(rows, cache.slots))

    def _leave(self, slot: int) -> None:
        """Take a text out; the last one moves into its slot, so that the slots in use stay neighbours."""
        last = self.active.pop()
        if slot < len(self.active):
            self.active[slot] = last
            self._cache.move(len(self.active), slot, last.length - 1)


def _in_order(rows: Sequence[Writing]) -> deque[tuple[Writing, int]]:
    """Return the texts family by family, the longest first, each with its family's number of shared tokens."""
    found = families([row.prompt[:-1] for row in rows])
    ordered = [
        (
            sorted((rows[member] for member in family.members), key=lambda row: (-row.longest, row.prompt)),
            family,
        )
        for family in found
    ]
    ordered.sort(key=lambda entry: -entry[0][0].longest)
    return deque((row, family.shared) for members, family in ordered for row in members)


def _parts(lengths: Sequence[int], tokens: int) -> list[range]:
    """Cut rows into neighbours of similar length, at most `tokens` of them padded, at least a row each."""
    parts: list[range] = []
    start = 0
    for place, length in enumerate(lengths):
        widest = max(lengths[start:place], default=length)
        grown = max(widest, length) * (place + 1 - start) > tokens
        if place > start and (grown or 2 * length < widest):
            parts.append(range(start, place))
            start = place
    return [*parts, range(start, len(lengths))] if lengths else []
