"""Refuse models whose logits depend on later tokens: their log-probabilities are no scores."""

from __future__ import annotations

import torch

from gate.engines.hf.model.capabilities import logit_distances, probe_tokens, tolerance
from gate.engines.hf.model.load import LoadedModel
from gate.errors import ModelError


def check_causal(loaded: LoadedModel, name: str) -> None:
    """Compare the logits of a text's first half with and without its second half.

    Attention in both directions changes the logits of every position, rounding and the routing of experts those of a
    few, so the median of the positions decides.

    Raises
    ------
    ModelError
        They differ: the model predicts tokens that it has read.
    """
    ids = probe_tokens(loaded.tokenizer)[: loaded.capabilities.window]
    half = len(ids) // 2
    if not half:
        return
    with torch.no_grad():
        whole, first = (
            loaded.model(input_ids=torch.tensor([tokens], device=loaded.device), use_cache=False).logits[0, :half]
            for tokens in (ids, ids[:half])
        )
    if whole.isnan().any() or first.isnan().any():
        return  # broken weights: the scores will be NaN too
    distance = float(logit_distances(whole, first).median())
    if distance > tolerance(loaded.model.dtype):
        raise ModelError(
            f"model {name}: {type(loaded.model).__name__} is not a causal language model: the logits of a text's first "
            f"{half} tokens change by {distance:.2g} nats if {len(ids) - half} more tokens follow.",
            "Set is_decoder: true in its config.json if it was trained to predict the next token. Models that fill in "
            "masked tokens cannot be evaluated.",
        )
