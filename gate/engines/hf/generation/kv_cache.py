"""Bookkeeping of a paged KV cache, after PagedAttention (Kwon et al. 2023, arXiv:2309.06180)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gate.engines.hf.generation.page_pool import PagePool


@dataclass(frozen=True)
class PageCopy:
    """A page to copy, because forked sequences cannot share a partly filled page."""

    source: int
    targets: list[int]


class KVCacheManager:
    """The page tables of running sequences, by index, and of at most one shared prefix.

    The keys and values are in `gate.engines.hf.generation.paged_cache`.

    Attributes
    ----------
    page_size : int
        Tokens per page.
    prefix : tuple of int
        Tokens of the shared prefix; empty for none.
    prefix_pages : list of int
    """

    def __init__(self, num_pages: int, page_size: int) -> None:
        self.num_pages, self.page_size = num_pages, page_size
        self.prefix: tuple[int, ...] = ()
        self.prefix_pages: list[int] = []
        self._pool = PagePool(num_pages)
        self._tables: dict[int, list[int]] = {}

    @property
    def num_used_pages(self) -> int:
        """Number of pages in use. Shared pages count once."""
        return self.num_pages - self._pool.num_free

    def pages_for(self, tokens: int) -> int:
        """Return the number of pages that hold `tokens` tokens."""
        return -(-tokens // self.page_size)

    def pages_held(self, sequence: int) -> int:
        """Return the number of pages of a sequence, including shared ones."""
        return len(self._tables[sequence])

    def fork(self, capacities: Mapping[int, int], length: int, source: int | None = None) -> PageCopy | None:
        """Allocate pages for new sequences that start with tokens already in the cache.

        Full pages are shared. A partly filled page is returned for the caller to copy.

        Parameters
        ----------
        capacities : mapping of int to int
            Tokens to allocate pages for, per new sequence; at least `length`.
        length : int
            Number of tokens to share; possibly 0.
        source : int, optional
            The sequence that has these tokens; by default the shared prefix.
        """
        pages = self.prefix_pages if source is None else self._tables[source]
        full, rest = divmod(length, self.page_size)
        for sequence, capacity in capacities.items():
            shared = self._pool.share(pages[:full])
            self._tables[sequence] = shared + self._pool.allocate(self.pages_for(capacity) - full)
        if not rest or not capacities:
            return None
        return PageCopy(pages[full], [self._tables[sequence][full] for sequence in capacities])

    def append_page(self, sequence: int) -> None:
        """Allocate one more page to a sequence; IndexError if none is free."""
        self._tables[sequence] += self._pool.allocate(1)

    def free(self, sequence: int) -> None:
        """Free a sequence's pages."""
        self._pool.free(self._tables.pop(sequence))

    def allocate_prefix(self, tokens: tuple[int, ...]) -> None:
        """Allocate pages to a shared prefix, which replaces the previous one."""
        self.free_prefix()
        self.prefix, self.prefix_pages = tokens, self._pool.allocate(self.pages_for(len(tokens)))

    def free_prefix(self) -> None:
        """Free the prefix. Sequences that were forked from it keep their shared pages."""
        self._pool.free(self.prefix_pages)
        self.prefix, self.prefix_pages = (), []

    @property
    def prefix_in_use(self) -> bool:
        """Whether a sequence shares pages with the prefix."""
        return any(table[0] in self.prefix_pages for table in self._tables.values())

    def shared_pages(self, sequences: Collection[int]) -> int:
        """Return the number of full prefix pages if all these sequences share them, else 0."""
        pages = self.full_prefix_pages
        shared = all(self._tables[sequence][: len(pages)] == pages for sequence in sequences)
        return len(pages) if shared else 0

    def page_tables(self, sequences: Sequence[int]) -> list[list[int]]:
        """Return the pages of sequences."""
        return [self._tables[sequence] for sequence in sequences]

    @property
    def full_prefix_pages(self) -> list[int]:
        """The pages of the prefix without a partly filled last one."""
        return self.prefix_pages[: len(self.prefix) // self.page_size]
