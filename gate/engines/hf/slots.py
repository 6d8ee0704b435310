"""A key-value cache of slots: each row of it belongs to one text of its own length, which is written in place.

Texts are not padded on the left. A row's keys lie at their own positions 0, 1, 2, ... whatever lies in the other rows,
so a text can be followed by a shorter or longer one without any other row being moved, and a token costs the writing
of its own keys, not a copy of the whole cache.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin


@dataclass
class _Place:
    """Where the next forward pass writes and how far it looks: the same for all layers.

    Attributes
    ----------
    first, last : int
        The rows of the pass are the slots first, ..., last - 1.
    start : int
        Position of the first new token; of all rows where `cells` is None.
    width : int
        Positions that are attended to.
    cells : pair of int64 tensors of shape (rows,), or None
        Slot and position of each row's single new token.
    """

    first: int = 0
    last: int = 0
    start: int = 0
    width: int = 0
    cells: tuple[torch.Tensor, torch.Tensor] | None = None


class _Layer(CacheLayerMixin):  # type: ignore[misc]  # transformers is not typed
    """Keys and values of one layer, of shape (slots, heads, positions, head size) each."""

    is_sliding = False

    def __init__(self, place: _Place) -> None:
        super().__init__()
        self._place = place
        self.slots, self.capacity = 0, 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        # zeros: a masked position has weight 0, and 0 x NaN would still be NaN
        self.keys, self.values = (
            new.new_zeros(self.slots, new.shape[1], self.capacity, new.shape[3])
            for new in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        place = self._place
        rows = slice(place.first, place.last)
        for held, new in ((self.keys, key_states), (self.values, value_states)):
            if place.cells is None:
                held[rows, :, place.start : place.start + new.shape[2]] = new
            else:
                # layers may lie on several devices
                slots, positions = (cell.to(held.device) for cell in place.cells)
                held[slots, :, positions] = new[:, :, 0]
        return self.keys[rows, :, : place.width], self.values[rows, :, : place.width]

    def resize(self, slots: int, capacity: int, keep: int) -> None:
        self.slots, self.capacity = slots, capacity
        if self.is_initialized:
            self.keys = _resized(self.keys, slots, capacity, keep)
            self.values = _resized(self.values, slots, capacity, keep)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:  # noqa: ARG002 - the signature is given
        return self._place.width, 0

    def get_seq_length(self) -> int:
        return self._place.start

    def get_max_length(self) -> int:
        return -1


def _resized(held: torch.Tensor, slots: int, capacity: int, keep: int) -> torch.Tensor:
    fresh = held.new_zeros(slots, held.shape[1], capacity, held.shape[3])
    both = min(capacity, held.shape[2])
    fresh[:keep, :, :both] = held[:keep, :, :both]
    return fresh


def takes(model: Any, *names: str) -> bool:
    """Tell whether the model's forward has parameters of these names."""
    return set(names) <= set(inspect.signature(model.forward).parameters)


Prefix = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of some tokens, one pair a layer."""


class SlotCache(Cache):  # type: ignore[misc]  # transformers is not typed
    """Slots for the texts in progress, and the masks that let a model write into them.

    Parameters
    ----------
    model : transformers model
        Keeps plain keys and values of every token in every layer, takes a 4-D mask and position ids.
    layers : int
    multiple : int
        Widths are rounded up to it.
    """

    def __init__(self, model: Any, layers: int, multiple: int = 1) -> None:
        self._place = _Place()
        super().__init__(layers=[_Layer(self._place) for _ in range(layers)])
        self._model, self._multiple = model, multiple
        self._eager = model.config.get_text_config()._attn_implementation == "eager"
        self._options = {"logits_to_keep": 1} if takes(model, "logits_to_keep") else {}
        self.slots, self.capacity = 0, 0

    def resize(self, slots: int, capacity: int, keep: int) -> None:
        """Make room for `slots` texts of `capacity` tokens; the first `keep` slots keep what they hold."""
        self.slots, self.capacity = slots, -(-capacity // self._multiple) * self._multiple
        for layer in self.layers:
            layer.resize(self.slots, self.capacity, keep)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot to another."""
        for layer in self.layers:
            if layer.is_initialized:
                for held in (layer.keys, layer.values):
                    held[target, :, :length] = held[source, :, :length]

    def take(self, slot: int, length: int) -> Prefix:
        """Return a copy of the first `length` positions of a slot."""
        return [
            (
                layer.keys[slot : slot + 1, :, :length].clone(),
                layer.values[slot : slot + 1, :, :length].clone(),
            )
            for layer in self.layers
        ]

    def put(self, prefix: Prefix, first: int, last: int) -> None:
        """Begin the slots first, ..., last - 1 with a copy of `prefix`."""
        for layer, (keys, values) in zip(self.layers, prefix, strict=True):
            layer.keys[first:last, :, : keys.shape[2]] = keys
            layer.values[first:last, :, : values.shape[2]] = values

    def read(self, tokens: Sequence[Sequence[int]], first: int, start: int, device: torch.device) -> None:
        """Write tokens into the slots from `first` on, those of a slot from position `start` on.

        Shorter rows are padded on the right; what is written there is overwritten before it is attended to.
        """
        width = max(map(len, tokens))
        inputs = torch.tensor([[*row, *[0] * (width - len(row))] for row in tokens])
        positions = torch.arange(start, start + width, device=device)
        mask = torch.arange(start + width, device=device) <= positions[:, None]
        self._set(first, first + len(tokens), start, start + width)
        # the logits are not needed: a prompt's last token is put in by `step`
        self._forward(
            inputs.to(device), positions.expand(len(tokens), -1), mask.expand(len(tokens), 1, -1, -1)
        )

    def step(self, tokens: Sequence[int], lengths: Sequence[int], device: torch.device) -> torch.Tensor:
        """Write one token behind each of the first slots and return the logits after it, in float32.

        Parameters
        ----------
        tokens, lengths : sequences of int
            The token of each slot and how many the slot holds before it.

        Returns
        -------
        float32 tensor of shape (rows, vocabulary)
        """
        width = -(-(max(lengths) + 1) // self._multiple) * self._multiple
        inputs, positions, slots = torch.tensor([tokens, lengths, range(len(tokens))]).to(device)
        mask = torch.arange(width, device=device) <= positions[:, None]
        self._set(0, len(tokens), max(lengths), width, (slots, positions))
        logits = self._forward(inputs[:, None], positions[:, None], mask[:, None, None])
        return logits[:, -1].float()

    def _set(
        self,
        first: int,
        last: int,
        start: int,
        width: int,
        cells: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> None:
        place = self._place
        place.first, place.last, place.start, place.width = first, last, start, width
        place.cells = cells

    def _forward(self, inputs: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self._eager:  # adds its mask to the scores
            kind = self._model.dtype
            mask = torch.zeros(mask.shape, dtype=kind, device=mask.device).masked_fill(
                ~mask, torch.finfo(kind).min
            )
        with torch.no_grad():
            output = self._model(
                input_ids=inputs,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=self,
                use_cache=True,
                **self._options,
            )
        logits: torch.Tensor = output.logits
        return logits
