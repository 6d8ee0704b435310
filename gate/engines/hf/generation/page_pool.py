"""Reference counts of the pages of a KV cache."""

from __future__ import annotations

from collections.abc import Iterable

PADDING_PAGE = 0
"""The page that receives the keys and values of padding tokens. It is never allocated."""


class PagePool:
    """Counts the holders of each page.

    Parameters
    ----------
    num_pages : int
        Pages 1, ..., `num_pages` can be allocated.
    """

    def __init__(self, num_pages: int) -> None:
        self._free = list(range(num_pages, PADDING_PAGE, -1))
        self._holders: dict[int, int] = {}

    @property
    def num_free(self) -> int:
        """Number of pages without a holder."""
        return len(self._free)

    def allocate(self, count: int) -> list[int]:
        """Return `count` free pages, each with one holder; IndexError if fewer are free."""
        pages = [self._free.pop() for _ in range(count)]
        self._holders.update(dict.fromkeys(pages, 1))
        return pages

    def share(self, pages: Iterable[int]) -> list[int]:
        """Add a holder to each allocated page, and return the pages."""
        shared = list(pages)
        for page in shared:
            self._holders[page] += 1
        return shared

    def free(self, pages: Iterable[int]) -> None:
        """Remove a holder from each page. A page without holders can be allocated again."""
        for page in pages:
            self._holders[page] -= 1
            if not self._holders[page]:
                del self._holders[page]
                self._free.append(page)
