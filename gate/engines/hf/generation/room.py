"""How many tokens of texts in progress are held at a time, where the settings leave it to us."""

from __future__ import annotations

from math import log2

import torch

from gate.engines.hf.model.load import LoadedModel
from gate.engines.hf.model.memory import available

_PART = 0.4  # of the free memory: the rest is for the passes themselves
_MOST = {"cpu": 16384, "cuda": 262144}  # more rows than that make no token cheaper
_FEWEST = 256


def automatic_text_tokens(loaded: LoadedModel) -> int:
    """Return the bound of `generate` in tokens, a power of two, so that runs repeat.

    A token in progress takes its keys and values; a scored one takes activations and logits, so that the bound of
    scoring (`gate.engines.hf.model.memory`) says little here. On a CPU a step over many texts costs little more than one over
    few, because each reads all weights.
    """
    config = loaded.model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", None) or 32
    size = getattr(config, "head_dim", None) or (getattr(config, "hidden_size", None) or 4096) // heads
    pairs = (getattr(config, "num_hidden_layers", None) or 32) * (
        getattr(config, "num_key_value_heads", None) or heads
    )
    token = 2 * pairs * size * loaded.model.dtype.itemsize
    device = loaded.device
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available()
    most = _MOST.get(device.type, 4096)
    fitting = most if free is None else min(most, _PART * free / token)
    return max(_FEWEST, 1 << int(log2(max(1, fitting))))
