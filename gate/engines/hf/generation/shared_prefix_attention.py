"""Attention of new tokens after a prefix that all sequences share: its keys are read once per step, not per sequence.

After Hydragen (Juravsky et al. 2024, arXiv:2402.05099): one matrix product multiplies the queries of all sequences with
the shared keys. One softmax covers both parts here, so no partial results have to be merged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface

ATTENTION_NAME = "quantgate_shared_prefix"
"""The name under which this attention is registered in transformers."""


@dataclass(frozen=True, eq=False)
class PrefixKV:
    """Keys and values of the prefix, one tensor per layer.

    A class of its own, because accelerate moves lists and tuples of tensors between devices.

    Attributes
    ----------
    keys : list of float32 tensors of shape (heads, head size, prefix tokens)
    values : list of tensors of shape (heads, prefix tokens, head size)
    """

    keys: list[torch.Tensor]
    values: list[torch.Tensor]


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    dropout: float = 0.0,  # noqa: ARG001 - required by transformers
    scaling: float | None = None,
    shared_prefix: PrefixKV | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention of one new token per sequence. The signature is that of transformers' own functions.

    Parameters
    ----------
    query : tensor of shape (rows, query heads, 1, head size)
    key, value : tensors of shape (rows, heads, positions, head size)
        Of the sequences' own tokens, which follow the prefix.
    attention_mask : bool tensor of shape (rows, 1, 1, positions)

    Raises
    ------
    NotImplementedError
        The model's attention has a soft cap, sinks or a position bias.
    """
    unsupported = [name for name in ("softcap", "s_aux", "position_bias") if options.get(name) is not None]
    if unsupported:
        raise NotImplementedError(f"attention with {', '.join(unsupported)}")
    rows, heads, size = len(query), key.shape[1], query.shape[-1]
    # the query heads of one key head side by side; scores in float32, like those of fused attention
    scaled = query.reshape(rows, heads, -1, size).float() * (size**-0.5 if scaling is None else scaling)
    lowest = torch.finfo(torch.float32).min
    scores = torch.matmul(scaled, key.float().transpose(-1, -2)).masked_fill(~attention_mask, lowest)
    shared = 0
    if shared_prefix is not None:
        prefix_scores = torch.matmul(_by_head(scaled), shared_prefix.keys[module.layer_idx])
        shared = prefix_scores.shape[-1]
        scores = torch.cat((_by_row(prefix_scores, rows), scores), dim=-1)
    weights = scores.softmax(dim=-1).to(query.dtype)
    output = torch.matmul(weights[..., shared:], value)
    if shared_prefix is not None:
        output += _by_row(torch.matmul(_by_head(weights[..., :shared]), shared_prefix.values[module.layer_idx]), rows)
    return output.reshape(rows, 1, -1, value.shape[-1]), None


def _by_head(tensor: torch.Tensor) -> torch.Tensor:
    """(rows, heads, queries, n) -> (heads, rows x queries, n)."""
    return tensor.transpose(0, 1).flatten(1, 2)


def _by_row(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    """(heads, rows x queries, n) -> (rows, heads, queries, n)."""
    return tensor.view(len(tensor), rows, -1, tensor.shape[-1]).transpose(0, 1)


AttentionInterface.register(ATTENTION_NAME, attend)
