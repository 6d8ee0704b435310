"""Who holds which pages of a cache: nothing but numbers."""

from __future__ import annotations

from collections.abc import Iterable

NOBODY = 0
"""The page that takes what is written for padding; never handed out."""


class Pool:
    """Says which pages are free and which are held, by how many.

    Parameters
    ----------
    pages : int
        How many there are to hand out.
    """

    def __init__(self, pages: int) -> None:
        self._free = list(range(pages, NOBODY, -1))
        self._holders: dict[int, int] = {}

    @property
    def free(self) -> int:
        """How many pages nobody holds."""
        return len(self._free)

    def take(self, count: int) -> list[int]:
        """Return pages that were free; IndexError where there are not so many."""
        pages = [self._free.pop() for _ in range(count)]
        self._holders.update(dict.fromkeys(pages, 1))
        return pages

    def share(self, pages: Iterable[int]) -> list[int]:
        """Return pages that are held already, for one more holder."""
        shared = list(pages)
        for page in shared:
            self._holders[page] += 1
        return shared

    def give_back(self, pages: Iterable[int]) -> None:
        """Let go of pages; those that nobody else holds are free."""
        for page in pages:
            self._holders[page] -= 1
            if not self._holders[page]:
                del self._holders[page]
                self._free.append(page)
