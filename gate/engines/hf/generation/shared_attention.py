"""Attention of new tokens behind a beginning that all texts share: its keys are read once a step, not once a text.

The idea of Hydragen (Juravsky et al. 2024, arXiv:2402.05099): the queries of all texts make one matrix product with the
shared keys. One softmax goes over both parts here, so that nothing has to be merged afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface

NAME = "quantgate_beginning"
"""Under which transformers' models find this attention."""


@dataclass(frozen=True, eq=False)
class Beginning:
    """Keys and values of the shared tokens, one tensor a layer.

    A class of its own, since accelerate moves lists and tuples of tensors from device to device.

    Attributes
    ----------
    keys : list of float32 tensors of shape (heads, head size, shared tokens)
    values : list of tensors of shape (heads, shared tokens, head size)
    """

    keys: list[torch.Tensor]
    values: list[torch.Tensor]


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    dropout: float = 0.0,  # noqa: ARG001 - the signature is given
    scaling: float | None = None,
    beginning: Beginning | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention of one new token a text, in the form of transformers' own functions.

    Parameters
    ----------
    query : tensor of shape (rows, query heads, 1, head size)
    key, value : tensors of shape (rows, heads, positions, head size)
        Of the texts' own tokens, which stand behind the beginning.
    attention_mask : bool tensor of shape (rows, 1, 1, positions)
    beginning : Beginning, optional

    Raises
    ------
    NotImplementedError
        The model's attention is of another kind: capped scores, sinks, a bias by position.
    """
    odd = [name for name in ("softcap", "s_aux", "position_bias") if options.get(name) is not None]
    if odd:
        raise NotImplementedError(f"attention with {', '.join(odd)}")
    rows, heads, size = len(query), key.shape[1], query.shape[-1]
    # the query heads of one key head side by side; scores in float32, as fused attention keeps them
    asked = query.reshape(rows, heads, -1, size).float() * (size**-0.5 if scaling is None else scaling)
    lowest = torch.finfo(torch.float32).min
    scores = torch.matmul(asked, key.float().transpose(-1, -2)).masked_fill(~attention_mask, lowest)
    shared = 0
    if beginning is not None:
        together = torch.matmul(_by_head(asked), beginning.keys[module.layer_idx])
        shared = together.shape[-1]
        scores = torch.cat((_by_row(together, rows), scores), dim=-1)
    weights = scores.softmax(dim=-1).to(query.dtype)
    found = torch.matmul(weights[..., shared:], value)
    if beginning is not None:
        found += _by_row(
            torch.matmul(_by_head(weights[..., :shared]), beginning.values[module.layer_idx]), rows
        )
    return found.reshape(rows, 1, -1, value.shape[-1]), None


def _by_head(some: torch.Tensor) -> torch.Tensor:
    """(rows, heads, queries, n) -> (heads, rows x queries, n)."""
    return some.transpose(0, 1).flatten(1, 2)


def _by_row(some: torch.Tensor, rows: int) -> torch.Tensor:
    """(heads, rows x queries, n) -> (rows, heads, queries, n)."""
    return some.view(len(some), rows, -1, some.shape[-1]).transpose(0, 1)


AttentionInterface.register(NAME, attend)
