"""Keys and values of a prefix that many rows share: computed once, read by all of them, written by none."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import Cache, DynamicLayer

_KEPT = 2  # prefixes that are kept: the one in use, and one more


class _SharedLayer(DynamicLayer):  # type: ignore[misc]  # transformers is not typed
    """One layer's keys and values of the prefix, for any number of rows; what rows add is not kept.

    The layers of transformers keep what they are given: the next batch would see the last one's tokens.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.keys, self.values = keys, values
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *_: Any,
        **__: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows = key_states.shape[0]
        return (
            torch.cat([self.keys.expand(rows, -1, -1, -1), key_states], dim=-2),
            torch.cat([self.values.expand(rows, -1, -1, -1), value_states], dim=-2),
        )


class Prefixes:
    """The prefixes that were last computed for one model; calls with the same few-shot block find it here."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, ...], Cache] = OrderedDict()

    def get(self, tokens: tuple[int, ...], compute: Callable[[Cache], None]) -> Cache:
        """Return a prefix's cache.

        Parameters
        ----------
        tokens : tuple of int
        compute : callable
            Runs the model over `tokens` with the empty cache that it is given.
        """
        found = self._kept.get(tokens)
        if found is None:
            while len(self._kept) >= _KEPT:  # before the new one takes memory
                self._kept.popitem(last=False)
            filled = DynamicCache()
            compute(filled)
            found = Cache(layers=[_SharedLayer(layer.keys, layer.values) for layer in filled.layers])
            self._kept[tokens] = found
        self._kept.move_to_end(tokens)
        return found

    def clear(self) -> None:
        """Forget all, to give memory back."""
        self._kept.clear()
