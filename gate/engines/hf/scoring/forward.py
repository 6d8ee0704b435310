"""One forward pass over trees, and the logits of the needed positions alone."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers.cache_utils import Cache

from gate.engines.hf.model.batching import padded
from gate.engines.hf.model.load import LoadedModel, to_device
from gate.engines.hf.scoring.trees import Tree

Place = tuple[int, int]
"""Row of a batch and position in it."""


@dataclass(frozen=True)
class Forward:
    """How a model is run over trees.

    Attributes
    ----------
    loaded : LoadedModel
    multiple : int
        Rows are padded to a multiple of this.
    gathered : bool
        Only the hidden states that are needed go through the LM head; else a range of positions of all rows does.
    """

    loaded: LoadedModel
    multiple: int
    gathered: bool

    @cached_property
    def _few_logits(self) -> bool:
        return "logits_to_keep" in inspect.signature(self.loaded.model.forward).parameters

    def logits(
        self, trees: Sequence[Tree], needed: Sequence[Place], prefix: Cache | None = None
    ) -> torch.Tensor:
        """Run a batch.

        Parameters
        ----------
        trees : sequence of Tree
        needed : sequence of (row, position)
        prefix : Cache or None
            Keys and values of what comes before every tree.

        Returns
        -------
        tensor of shape (needed, vocabulary)
            In the model's number format, on its last device.
        """
        before = 0 if prefix is None else int(prefix.get_seq_length())
        masked = prefix is not None or not all(tree.chain for tree in trees)
        width = padded(max(len(tree.tokens) for tree in trees), self.multiple)
        if (
            masked and self.loaded.device.type == "cuda"
        ):  # its kernels want rows of the mask at multiples of 8
            width = padded(before + width, 8) - before
        pad = self.loaded.tokenizer.pad_token_id or 0
        options: dict[str, Any] = {"use_cache": prefix is not None}
        if prefix is not None:
            options["past_key_values"] = prefix
        if masked:
            options |= self._structure(trees, width, before)
        inputs = self._tensor([tree.tokens + [pad] * (width - len(tree.tokens)) for tree in trees])
        return self._run(inputs, needed, options)

    def fill(self, tokens: Sequence[int], cache: Cache) -> None:
        """Run one row for its keys and values."""
        options: dict[str, Any] = {"use_cache": True, "past_key_values": cache}
        self._run(self._tensor([list(tokens)]), [(0, len(tokens) - 1)], options)

    def _run(self, inputs: torch.Tensor, needed: Sequence[Place], options: dict[str, Any]) -> torch.Tensor:
        model = self.loaded.model
        rows, places = (self._tensor(list(axis)) for axis in zip(*needed, strict=True))
        with torch.no_grad():
            if self.gathered:
                with only_needed(model.get_output_embeddings(), rows, places) as head:
                    logits: torch.Tensor = model(input_ids=inputs, **options).logits
                if head.called != 1:
                    raise RuntimeError(f"the LM head ran {head.called} times in one forward pass, not once")
                return logits[0]
            first = 0
            if self._few_logits:
                first = min(place for _, place in needed)
                last = max(place for _, place in needed)
                options["logits_to_keep"] = torch.arange(first, last + 1, device=inputs.device)
            logits = model(input_ids=inputs, **options).logits
            return logits[rows.to(logits.device), (places - first).to(logits.device)]

    def _structure(self, trees: Sequence[Tree], width: int, before: int) -> dict[str, torch.Tensor]:
        """Return the 4-D attention mask and the position ids of trees behind `before` tokens that all of them see."""
        gaps = [width - len(tree.tokens) for tree in trees]
        # padding sees and is seen by itself alone: a row of the mask with nothing in it would make NaN of the softmax
        ends = self._tensor([tree.ends + list(range(len(tree.tokens) + 1, width + 1)) for tree in trees])
        depths = self._tensor([tree.depths + [0] * gap for tree, gap in zip(trees, gaps, strict=True)])
        place = torch.arange(width, device=ends.device)
        own = (place[:, None] >= place) & (place[:, None] < ends[:, None, :])
        seen = torch.nn.functional.pad(own, (before, 0), value=True)[:, None]
        if self.loaded.model.config._attn_implementation == "eager":  # adds its mask to the scores
            dtype = self.loaded.model.dtype
            seen = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(
                ~seen, torch.finfo(dtype).min
            )
        return {"attention_mask": seen, "position_ids": depths}

    def _tensor(self, values: list[Any]) -> torch.Tensor:
        return to_device(values, self.loaded.device)


@dataclass
class _Head:
    called: int = 0


@contextmanager
def only_needed(head: torch.nn.Module, rows: torch.Tensor, places: torch.Tensor) -> Iterator[_Head]:
    """Let an LM head see the hidden states of the given positions alone, as one row.

    Whatever the model does with the logits afterwards (soft capping, scaling) it does with these.
    """
    seen = _Head()

    def gather(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden = inputs[0]
        seen.called += 1
        chosen = hidden[rows.to(hidden.device), places.to(hidden.device)]
        return (chosen[None], *inputs[1:])

    handle = head.register_forward_pre_hook(gather)
    try:
        yield seen
    finally:
        handle.remove()
