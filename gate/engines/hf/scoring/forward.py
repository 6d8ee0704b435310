"""One forward pass over packed rows that computes logits only at the needed positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers.cache_utils import Cache

from gate.engines.hf.model.capabilities import accepts
from gate.engines.hf.model.load import LoadedModel, to_device
from gate.engines.hf.scoring.trees import Tree

Position = tuple[int, int]
"""Row of a batch and position in the row."""


@dataclass(frozen=True)
class Forward:
    """Runs a model over batches of trees.

    Attributes
    ----------
    loaded : LoadedModel
    gathered : bool
        Whether only the hidden states at the needed positions go through the LM head; otherwise a range of positions
        of all rows does.
    """

    loaded: LoadedModel
    gathered: bool

    @cached_property
    def _keeps_range(self) -> bool:
        return accepts(self.loaded.model, "logits_to_keep")

    def logits(
        self, trees: Sequence[Tree], needed: Sequence[Position], prefix: Cache | None = None
    ) -> torch.Tensor:
        """Run a batch.

        Parameters
        ----------
        trees : sequence of Tree
        needed : sequence of (row, position)
        prefix : Cache or None
            Keys and values of the prefix that every tree continues.

        Returns
        -------
        tensor of shape (needed, vocabulary)
            In the model's number format, on its last device.
        """
        before = 0 if prefix is None else int(prefix.get_seq_length())
        masked = prefix is not None or not all(tree.linear for tree in trees)
        width = max(len(tree.tokens) for tree in trees)
        if masked and self.loaded.device.type == "cuda":  # fast kernels need mask rows at multiples of 8
            width += -(before + width) % 8
        pad = self.loaded.tokenizer.pad_token_id or 0
        options: dict[str, Any] = {"use_cache": prefix is not None}
        if prefix is not None:
            options["past_key_values"] = prefix
        if masked:
            options |= self._structure(trees, width, before)
        inputs = self._tensor([tree.tokens + [pad] * (width - len(tree.tokens)) for tree in trees])
        return self._run(inputs, needed, options)

    def prefill(self, tokens: Sequence[int], cache: Cache) -> None:
        """Fill an empty cache with the keys and values of one sequence."""
        options: dict[str, Any] = {"use_cache": True, "past_key_values": cache}
        self._run(self._tensor([list(tokens)]), [(0, len(tokens) - 1)], options)

    def _run(self, inputs: torch.Tensor, needed: Sequence[Position], options: dict[str, Any]) -> torch.Tensor:
        model = self.loaded.model
        rows, positions = (self._tensor(list(axis)) for axis in zip(*needed, strict=True))
        with torch.no_grad():
            if self.gathered:
                with gathered_head(model.get_output_embeddings(), rows, positions) as calls:
                    logits: torch.Tensor = model(input_ids=inputs, **options).logits
                if len(calls) != 1:
                    raise RuntimeError(f"the LM head ran {len(calls)} times in one forward pass, not once")
                return logits[0]
            first = 0
            if self._keeps_range:
                first = min(position for _, position in needed)
                last = max(position for _, position in needed)
                options["logits_to_keep"] = torch.arange(first, last + 1, device=inputs.device)
            logits = model(input_ids=inputs, **options).logits
            return logits[rows.to(logits.device), (positions - first).to(logits.device)]

    def _structure(self, trees: Sequence[Tree], width: int, before: int) -> dict[str, torch.Tensor]:
        """Return the 4-D attention mask and the position ids of trees after `before` tokens that all attend to."""
        gaps = [width - len(tree.tokens) for tree in trees]
        # a padding token attends to itself alone: a fully masked row would make the softmax NaN
        ends = self._tensor([tree.ends + list(range(len(tree.tokens) + 1, width + 1)) for tree in trees])
        position_ids = self._tensor(
            [tree.position_ids + [0] * gap for tree, gap in zip(trees, gaps, strict=True)]
        )
        index = torch.arange(width, device=ends.device)
        own = (index[:, None] >= index) & (index[:, None] < ends[:, None, :])
        mask = torch.nn.functional.pad(own, (before, 0), value=True)[:, None]
        if self.loaded.capabilities.attention == "eager":  # adds the mask to the scores
            dtype = self.loaded.model.dtype
            mask = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(
                ~mask, torch.finfo(dtype).min
            )
        return {"attention_mask": mask, "position_ids": position_ids}

    def _tensor(self, values: list[Any]) -> torch.Tensor:
        return to_device(values, self.loaded.device)


@contextmanager
def gathered_head(
    head: torch.nn.Module, rows: torch.Tensor, positions: torch.Tensor
) -> Iterator[list[torch.Size]]:
    """Pass only the hidden states at the given positions to an LM head, as one row.

    Anything that the model does to the logits afterwards (soft capping, scaling) then applies to these alone. Yields
    a list that gets the shape of the hidden states at every call of the head.
    """
    calls: list[torch.Size] = []

    def gather(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden = inputs[0]
        calls.append(hidden.shape)
        chosen = hidden[rows.to(hidden.device), positions.to(hidden.device)]
        return (chosen[None], *inputs[1:])

    handle = head.register_forward_pre_hook(gather)
    try:
        yield calls
    finally:
        handle.remove()
