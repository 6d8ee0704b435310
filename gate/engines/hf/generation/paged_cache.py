"""The storage of a paged KV cache: one tensor of keys and one of values per layer, divided into pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from gate.engines.hf.generation.shared_prefix_attention import PrefixKV


class CurrentPass:
    """Where the current forward pass writes keys and values, and what it attends to; shared by all layers.

    Layers refer to this object, because a reference to the cache would be a cycle, which delays freeing the cache.
    """

    cached_length = 0
    attended_length = 0

    def begin(
        self, cached_length: int, attended_length: int, slots: torch.Tensor, page_table: torch.Tensor | None
    ) -> None:
        """Set what the next forward pass needs.

        Parameters
        ----------
        cached_length : int
            Tokens that the longest sequence has in the cache before the pass.
        attended_length : int
            Positions that each sequence attends to.
        slots : int64 tensor of shape (2, rows x new tokens)
            Page of each new token, and its offset in the page.
        page_table : int64 tensor of shape (rows, pages), or None
            Pages that each sequence attends to. None: it attends to the new tokens only.
        """
        self.cached_length, self.attended_length = cached_length, attended_length
        self._slots, self._page_table = slots, page_table
        self._on_device: dict[tuple[torch.device, int], tuple[torch.Tensor, torch.Tensor | None]] = {}

    def on(self, device: torch.device, heads: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the slots, and the gather index, on the device of a layer. Layers may be on several devices.

        The index has shape (rows x heads x pages,) and holds page x heads + head; None without a `page_table`.
        """
        tensors = self._on_device.get((device, heads))
        if tensors is None:
            index = None
            if self._page_table is not None:
                index = self._page_table[:, None, :] * heads + torch.arange(heads)[:, None]
                index = index.flatten().to(device)
            tensors = self._on_device[device, heads] = (self._slots.to(device), index)
        return tensors


class PagedLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers is not typed
    """Keys and values of one layer, each of shape (pages, heads, page size, head size).

    Pages are gathered per layer, so only one layer's keys and values are padded in memory at a time.
    """

    def __init__(self, current: CurrentPass, num_pages: int, page_size: int) -> None:
        super().__init__()
        self._current = current
        self.num_pages, self.page_size = num_pages, page_size

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate the pages."""
        # zeros: a masked position has weight 0, and 0 x NaN would be NaN
        self.keys, self.values = (
            states.new_zeros(self.num_pages, states.shape[1], self.page_size, states.shape[3])
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new keys and values into their slots; return all keys and values that they attend to."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        rows, heads = key_states.shape[:2]
        (pages, offsets), index = self._current.on(key_states.device, heads)
        for stored, states in ((self.keys, key_states), (self.values, value_states)):
            stored[pages, :, offsets] = states.transpose(1, 2).flatten(0, 1)
        if index is None:
            return key_states, value_states
        keys, values = (
            stored.flatten(0, 1).flatten(1).index_select(0, index).view(rows, heads, -1, stored.shape[-1])
            for stored in (self.keys, self.values)
        )
        return keys, values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:  # noqa: ARG002 - required by the base class
        """Return the number of positions attended to, and their offset."""
        return self._current.attended_length, 0

    def get_seq_length(self) -> int:
        """Return the number of cached tokens of the longest sequence."""
        return self._current.cached_length

    def get_max_length(self) -> int:
        """Return -1: the length is not limited."""
        return -1


class PagedCache(Cache):  # type: ignore[misc]  # transformers is not typed
    """The paged KV cache that transformers models write into. The first forward pass allocates its memory.

    Parameters
    ----------
    num_pages : int
        Pages that can be allocated; the padding page (`gate.engines.hf.generation.page_pool`) is added.
    page_size : int
        Tokens per page.
    """

    def __init__(self, num_layers: int, num_pages: int, page_size: int) -> None:
        self.current = CurrentPass()
        super().__init__(layers=[PagedLayer(self.current, num_pages + 1, page_size) for _ in range(num_layers)])

    def copy_page(self, source: int, targets: Sequence[int]) -> None:
        """Copy one page to others."""
        index = torch.tensor(targets)
        for layer in self.layers:
            for stored in (layer.keys, layer.values):
                stored[index.to(stored.device)] = stored[source].clone()

    def gather(self, pages: Sequence[int]) -> PrefixKV:
        """Return a copy of the keys and values of full pages."""
        keys, values = [], []
        for layer in self.layers:
            index = torch.tensor(pages, device=layer.keys.device)
            keys.append(layer.keys[index].float().transpose(0, 1).flatten(1, 2).transpose(1, 2).contiguous())
            values.append(layer.values[index].transpose(0, 1).flatten(1, 2))
        return PrefixKV(keys, values)
