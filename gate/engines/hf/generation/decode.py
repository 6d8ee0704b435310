"""Texts written side by side; when some end, the next prompts take their pages."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from gate.engines.hf.generation.families import families
from gate.engines.hf.generation.next_token import choose
from gate.engines.hf.generation.paged import attends_together
from gate.engines.hf.generation.pages import PageCache
from gate.engines.hf.generation.sequence import Writing, extend, measure
from gate.engines.hf.model.batching import BatchLimit, padded
from gate.engines.hf.model.load import LoadedModel
from gate.engines.hf.model.memory import free_memory, is_out_of_memory
from gate.errors import EvaluationError

_LOG = logging.getLogger(__name__)
_MOST_ROWS = 256  # more make no step cheaper, but their logits take memory
_FIRST_GUESS = 64  # new tokens of a text, before any has ended
_FEW = 8  # a pass that reads prompts is worth it from an eighth of the texts in progress on
# some texts end while others grow. Simulated: none of it sends too many back to wait, all of it leaves a third unused
_AHEAD = 0.25  # part of the pages still to be taken that is kept free
_LEAST_SHARED = 128  # tokens that are worth an attention in several steps
_PAGE = 16  # tokens of a page: half of the last one is lost a text


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
        A model that `gate.engines.hf.generation.paged.why_not` has nothing against.
    rows : sequence of Writing
        None is made yet.
    layers : int
    limit : BatchLimit
        Upper bound of the tokens held in memory, shrunk where memory runs out; what a pass gathers and copies of
        them beside takes at most half as much again.
    multiple : int
        The tokens of a page are rounded up to it.
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
    """The texts in progress, their pages, and who waits.

    Those that wait are in the order of their families, a family's longest first, so that memory runs out at the start
    if it ever does; each comes with the length of its family's shared prefix.
    """

    def __init__(
        self, loaded: LoadedModel, rows: Sequence[Writing], layers: int, limit: BatchLimit, multiple: int
    ) -> None:
        self._loaded, self._layers, self._limit = loaded, layers, limit
        self._size = padded(_PAGE, multiple)
        self.active: list[Writing] = []
        self.waiting = _in_order(rows)
        self._shared = {row.index: shared for row, shared in self.waiting}
        long = max(self._shared.values()) >= _LEAST_SHARED
        self._together = long and attends_together(loaded)
        self._ended, self._ended_tokens = 0, 0
        self._begin()

    def advance(self) -> list[Writing]:
        """Let waiting texts in where there is room, write one token of each, and return the texts that ended."""
        self._make_room()
        self._leave_prefix()
        coming = self._admitted()
        if coming:
            self._admit(coming)
        rows, together = self.active, self._common_pages()
        scores = self._cache.step(
            [(row.made or row.prompt)[-1] for row in rows],
            [row.length - 1 for row in rows],
            [self._tables[row.index] for row in rows],
            self._loaded.device,
            together if len(rows) > 1 and self._worth(len(together)) else [],
        )
        tokens = choose(
            scores,
            [row.request.temperature for row in rows],
            [row.key for row in rows],
            [len(row.made) for row in rows],
        )
        measure(rows, scores)
        flags = extend(self._loaded.tokenizer, rows, tokens)
        ended = [row for row, flag in zip(rows, flags, strict=True) if flag]
        self._ended += len(ended)
        self._ended_tokens += sum(len(row.made) for row in ended)
        for row in ended:
            self._leave(row)
        return ended

    def recover(self) -> None:
        """Go on after an out-of-memory error with half the memory; texts in progress keep what they have made."""
        longest = max(row.length for row in self.active)
        hopeless = len(self.active) == 1 and self._limit.tokens <= longest
        # a cache that could not even be made had more pages than were held
        tried = (self._held if self._cache.made else self._pages) * self._size
        for row in reversed(self.active):
            self.waiting.appendleft((row, self._shared[row.index]))
        self.active = []
        del self._cache
        free_memory()
        if hopeless:
            raise EvaluationError(
                f"out of memory with a single text of {longest} tokens.",
                "Use a device with more memory, shorter prompts, or a smaller dtype.",
            )
        self._limit.shrink(tried)
        _LOG.warning("out of memory: batches are now at most %d tokens", self._limit.tokens)
        self._begin()

    def _begin(self) -> None:
        """Make a cache as large as the bound and the texts to come allow, at least for one text."""
        ends = [padded(row.longest, self._size) // self._size for row, _ in self.waiting]
        shared = [shared // self._size for _, shared in self.waiting]
        own = sorted((end - part for end, part in zip(ends, shared, strict=True)), reverse=True)[:_MOST_ROWS]
        # one more: of a shared prefix a part of a page is held twice
        most = sum(own) + max(shared) + 1
        self._budget = self._limit.tokens // self._size
        self._room = min(most, self._budget)
        self._pages = max(max(ends) + 1, self._room)
        self._cache = PageCache(self._loaded.model, self._layers, self._pages, self._size)
        self._tables: dict[int, list[int]] = {}
        self._prefix: tuple[int, ...] = ()
        self._prefix_pages: list[int] = []

    @property
    def _held(self) -> int:
        return self._pages - self._cache.pool.free

    def _passing(self, rows: int, pages: int, shared: int) -> int:
        """Return how many pages a pass takes beside those held.

        It gathers `pages` pages a row, one layer at a time; pages that are attended to together are copied once, the
        keys in float32.
        """
        return rows * (pages - shared) // self._layers + 2 * shared

    def _expected(self, row: Writing) -> int:
        """Return the pages that a text is expected to hold at its end, from the texts that have ended."""
        usual = self._ended_tokens // self._ended if self._ended else _FIRST_GUESS
        more = max(self._size, usual - len(row.made))
        return self._cache.pages_for(min(row.longest, row.length + more))

    def _admitted(self) -> list[tuple[Writing, int]]:
        """Return the waiting texts that come in now: all of one family, and enough of them to be worth a pass."""
        if not self.waiting:
            return []
        first, shared = self.waiting[0]
        family = first.prompt[:shared]
        whole = shared // self._size
        ends = [self._expected(row) for row in self.active]
        taken = self._held + (0 if self._prefix == family else self._cache.pages_for(shared))
        later = sum(
            max(0, end - len(self._tables[row.index])) for row, end in zip(self.active, ends, strict=True)
        )
        widest = max(ends, default=0)
        # beside texts that begin otherwise they are not attended to together
        alike = self._prefix == family and len(self._common_pages()) == whole if self.active else True
        together = whole if alike and self._worth(whole) else 0
        count, full = 0, False
        for row, own in self.waiting:
            if own != shared or row.prompt[:shared] != family:
                break
            now, end = self._cache.pages_for(row.length), self._expected(row)
            taken, later, widest = taken + now - whole, later + end - now, max(widest, end)
            rows = len(self.active) + count + 1
            full = rows > 1 and (
                rows > _MOST_ROWS
                or taken + _AHEAD * later > self._room
                or self._passing(rows, widest, together) > self._budget // 2
            )
            if full:
                break
            count += 1
        if full and count < (len(self.active) + count) / _FEW:
            return []
        return [self.waiting.popleft() for _ in range(count)]

    def _admit(self, coming: Sequence[tuple[Writing, int]]) -> None:
        """Give the texts pages and read all but their last token, which the next step puts in."""
        shared = coming[0][1]
        family = coming[0][0].prompt[:shared]
        held = {row.prompt[:-1]: row for row in self.active}
        # equal prompts are read once
        fresh: list[Writing] = []
        copies: list[tuple[Writing, Writing]] = []
        for row, _ in coming:
            source = held.setdefault(tuple(row.tokens[:-1]), row)
            if source is row:
                fresh.append(row)
            else:
                copies.append((row, source))
        self.active += [row for row, _ in coming]
        if shared and fresh and self._prefix != family:
            self._drop_prefix()
            self._prefix_pages = self._cache.pool.take(self._cache.pages_for(shared))
            self._cache.read([family], [self._prefix_pages], 0, self._loaded.device)
            self._prefix = family
        tables = self._cache.fork(self._prefix_pages, shared, [row.length for row in fresh])
        self._tables.update((row.index, table) for row, table in zip(fresh, tables, strict=True))
        most = max(1, self._budget // 2) * self._layers * self._size
        for part in _parts([row.length - 1 - shared for row in fresh], self._limit.tokens, shared, most):
            tokens = [row.tokens[shared:-1] for row in fresh[part]]
            if any(tokens):
                self._cache.read(tokens, tables[part], shared, self._loaded.device)
        for row, source in copies:
            pages = self._tables[source.index]
            self._tables[row.index] = self._cache.fork(pages, row.length - 1, [row.length])[0]

    def _common_pages(self) -> list[int]:
        """Return the full pages of the shared prefix if all texts in progress begin with them."""
        whole = self._prefix_pages[: len(self._prefix) // self._size]
        return whole if all(self._tables[row.index][: len(whole)] == whole for row in self.active) else []

    def _worth(self, pages: int) -> bool:
        """Tell whether so many pages are worth being attended to together."""
        return self._together and pages * self._size >= _LEAST_SHARED

    def _leave_prefix(self) -> None:
        """Let go of the shared prefix where neither a text in progress nor the next one begins with it."""
        following = self.waiting[0][0].prompt[: self.waiting[0][1]] if self.waiting else ()
        if following != self._prefix and not any(
            self._tables[row.index][0] in self._prefix_pages for row in self.active
        ):
            self._drop_prefix()

    def _drop_prefix(self) -> None:
        self._cache.pool.give_back(self._prefix_pages)
        self._prefix, self._prefix_pages = (), []

    def _make_room(self) -> None:
        """Have a page for each text's next token; where pages run out, the youngest texts go back to wait."""
        pool = self._cache.pool
        while True:
            full = [row for row in self.active if row.length > len(self._tables[row.index]) * self._size]
            if len(self.active) <= 1 or len(full) <= self._room - self._held:
                break
            youngest = min(reversed(self.active), key=lambda row: len(row.made))
            shared = self._shared[youngest.index]
            self.waiting.appendleft((youngest, shared if youngest.prompt[:shared] == self._prefix else 0))
            self._leave(youngest)
        if len(full) > pool.free:
            self._drop_prefix()
        for row in full:
            self._tables[row.index] += pool.take(1)

    def _leave(self, row: Writing) -> None:
        """Take a text out and let go of its pages."""
        self.active.remove(row)
        self._cache.pool.give_back(self._tables.pop(row.index))


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


def _parts(lengths: Sequence[int], tokens: int, shared: int, most: int) -> list[slice]:
    """Cut rows into neighbours of similar length that one pass reads, at least a row each.

    Parameters
    ----------
    lengths : sequence of int
        New tokens of each row.
    tokens : int
        Upper bound of the new tokens of a part, padded.
    shared : int
        Tokens that all rows begin with, in the cache.
    most : int
        Upper bound of a part's tokens with those.
    """
    parts: list[slice] = []
    start = 0
    for place, length in enumerate(lengths):
        widest, rows = max(lengths[start : place + 1]), place + 1 - start
        grown = widest * rows > tokens or (widest + shared) * rows > most
        if place > start and (grown or 2 * length < widest):
            parts.append(slice(start, place))
            start = place
    return [*parts, slice(start, len(lengths))] if lengths else []
