"""Keys and values of prefixes: computed once, read by every row that continues the prefix, never written to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import Cache, DynamicLayer

_MAX_PREFIXES = 2  # the one in use and the one before


class _SharedLayer(DynamicLayer):  # type: ignore[misc]  # transformers is not typed
    """One layer's keys and values of the prefix, for any number of rows.

    The layers of transformers store what is appended to them, so the next batch would see this one's tokens.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.keys, self.values = keys, values
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows = key_states.shape[0]
        return (
            torch.cat([self.keys.expand(rows, -1, -1, -1), key_states], dim=-2),
            torch.cat([self.values.expand(rows, -1, -1, -1), value_states], dim=-2),
        )


class PrefixCache:
    """The prefixes of one model that were used last, also across calls."""

    def __init__(self) -> None:
        self._caches: dict[tuple[int, ...], Cache] = {}  # the last used is last

    def get(self, tokens: tuple[int, ...], prefill: Callable[[tuple[int, ...], Cache], None]) -> Cache:
        """Return the key-value cache of a prefix; `prefill` fills an empty cache with it."""
        cache = self._caches.pop(tokens, None)
        if cache is None:
            while len(self._caches) >= _MAX_PREFIXES:  # before the new one takes memory
                del self._caches[next(iter(self._caches))]
            filled = DynamicCache()
            prefill(tokens, filled)
            cache = Cache(layers=[_SharedLayer(layer.keys, layer.values) for layer in filled.layers])
        self._caches[tokens] = cache
        return cache

    def clear(self) -> None:
        """Drop all prefixes to free their memory."""
        self._caches.clear()
