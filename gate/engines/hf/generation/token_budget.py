"""The automatic token budget of generation: how many tokens the running sequences may hold in the KV cache."""

from __future__ import annotations

from math import log2

from gate.engines.hf.model.load import LoadedModel
from gate.engines.hf.model.memory import device_memory

_KV_FRACTION = 0.4  # of the free memory; the rest is for activations and logits
_MAX_TOKENS = {"cpu": 16384, "cuda": 262144}  # larger batches are not faster per token
_MAX_TOKENS_ELSEWHERE = 4096
_MIN_TOKENS = 256


def automatic_token_budget(loaded: LoadedModel) -> int:
    """Return the token budget of `gate.engines.hf.generation.generate.generate`: a power of two, so that runs repeat.

    The budget depends on the size of a token's keys and values, not on the activations and logits that bound scoring
    (`gate.engines.hf.scoring.costs`). On a CPU a decode step over many sequences costs little more than one over few,
    because each step reads all weights.
    """
    config = loaded.model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", None) or 32
    head_size = getattr(config, "head_dim", None) or (getattr(config, "hidden_size", None) or 4096) // heads
    layers = getattr(config, "num_hidden_layers", None) or 32
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    bytes_per_token = 2 * layers * kv_heads * head_size * loaded.model.dtype.itemsize
    most = _MAX_TOKENS.get(loaded.device.type, _MAX_TOKENS_ELSEWHERE)
    tokens = min(most, _KV_FRACTION * device_memory(loaded.device) / bytes_per_token)
    return max(_MIN_TOKENS, 1 << int(log2(max(1, tokens))))
