"""One forward pass over packed rows that computes logits only at the needed positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache

from gate.engines.hf.model.capabilities import accepts
from gate.engines.hf.model.load import LoadedModel, to_device
from gate.engines.hf.scoring.trees import Tree, build_tree
from gate.engines.tokens.rows import Row

Position = tuple[int, int]
"""Row of a batch and position in the row."""


@dataclass(frozen=True)
class Forward:
    """Runs a model over batches of trees.

    If `gathered`, only the hidden states at the needed positions go through the LM head; otherwise a range of positions
    of all rows does.
    """

    loaded: LoadedModel
    gathered: bool

    def logits(self, trees: Sequence[Tree], needed: Sequence[Position], cache: Cache | None = None) -> torch.Tensor:
        """Run a batch of trees that continue the sequence in `cache`, if any.

        Returns
        -------
        tensor of shape (needed, vocabulary)
            In the model's number format, on its last device.
        """
        before = 0 if cache is None else int(cache.get_seq_length())
        masked = before > 0 or not all(tree.linear for tree in trees)
        width = max(len(tree.tokens) for tree in trees)
        if masked and self.loaded.device.type == "cuda":  # fast kernels need mask rows at multiples of 8
            width += -(before + width) % 8
        model, pad = self.loaded.model, self.loaded.tokenizer.pad_token_id or 0
        inputs = self._tensor([tree.tokens + [pad] * (width - len(tree.tokens)) for tree in trees])
        options: dict[str, Any] = {"input_ids": inputs, "use_cache": cache is not None}
        if cache is not None:
            options["past_key_values"] = cache
        if masked:
            options |= self._structure(trees, width, before)
        rows, positions = (self._tensor(list(axis)) for axis in zip(*needed, strict=True))
        with torch.no_grad():
            if self.gathered:
                return _gathered_logits(model, rows, positions, options)
            first = 0
            if accepts(model, "logits_to_keep"):
                first = min(position for _, position in needed)
                last = max(position for _, position in needed)
                options["logits_to_keep"] = torch.arange(first, last + 1, device=inputs.device)
            logits: torch.Tensor = model(**options).logits
            return logits[rows.to(logits.device), (positions - first).to(logits.device)]

    def prefill(self, tokens: tuple[int, ...], cache: Cache) -> None:
        """Fill an empty cache with the keys and values of one sequence."""
        self.logits([build_tree([Row(tokens, ())], 0)], [(0, len(tokens) - 1)], cache)

    def _structure(self, trees: Sequence[Tree], width: int, before: int) -> dict[str, torch.Tensor]:
        """Return the 4-D attention mask and the position ids of trees after `before` tokens that all attend to."""
        # a padding token attends to itself alone: a fully masked row would make the softmax NaN
        ends = self._tensor([tree.ends + list(range(len(tree.tokens) + 1, width + 1)) for tree in trees])
        position_ids = self._tensor([tree.position_ids + [0] * (width - len(tree.tokens)) for tree in trees])
        index = torch.arange(width, device=ends.device)
        own = (index[:, None] >= index) & (index[:, None] < ends[:, None, :])
        mask = torch.nn.functional.pad(own, (before, 0), value=True)[:, None]
        if self.loaded.capabilities.attention == "eager":  # adds the mask to the scores
            dtype = self.loaded.model.dtype
            mask = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)
        return {"attention_mask": mask, "position_ids": position_ids}

    def _tensor(self, values: list[Any]) -> torch.Tensor:
        return to_device(values, self.loaded.device)


def _gathered_logits(model: Any, rows: torch.Tensor, positions: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
    """Run the model, but pass only the hidden states at the given positions to its LM head, as one row.

    Anything that the model does to the logits afterwards (soft capping, scaling) then applies to these alone.
    """
    calls = 0

    def gather(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        nonlocal calls
        calls += 1
        hidden = inputs[0]
        chosen = hidden[rows.to(hidden.device), positions.to(hidden.device)]
        return (chosen[None], *inputs[1:])

    with model.get_output_embeddings().register_forward_pre_hook(gather):
        logits: torch.Tensor = model(**options).logits
    if calls != 1:
        raise RuntimeError(f"the LM head ran {calls} times in one forward pass, not once")
    return logits[0]
