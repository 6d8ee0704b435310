"""What a model's configuration says about packed rows and paged caches, and how their probes compare logits.

Both give the model attention masks and position ids of their own. The configuration rules out most models that do not
support this; `gate.engines.hf.scoring.method` and `gate.engines.hf.generation.paged` probe the others.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

_PROBE_TEXT = (
    "The train to the coast leaves at nine, and the last one back is full of people who carry shells, wet dogs and "
    "sand in their shoes. Which of them will tell at home what the sea was like? Most say: blue, cold, very large."
)
_PROBE_TOKENS = 48
_COMPARED = 32  # tokens per position whose log-probabilities are compared
# nats. Rounding alone makes up to 0.15 in bfloat16; a wrong mask or wrong positions make 0.4 to 8
_TOLERANCE = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 0.1}
_MASKABLE = ("sdpa", "eager")  # attention implementations that accept a 4-D mask
# queries at and after this position in the row, whatever their position ids are, are scaled (Llama 4)
_SCALED_FROM = ("floor_scale", "log_scaling_n_floor")
_ATTENTION_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}


@dataclass(frozen=True)
class Capabilities:
    """What the configuration says about a model.

    Attributes
    ----------
    obstacle : str
        Why the model supports neither packed rows nor a paged cache; empty if the configuration does not rule them out.
    attention : str
        The attention implementation: sdpa, eager, ...
    remote_code : bool
        Whether the model's code comes from its repository.
    window : int or None
        Longest input, in tokens, that no attention window cuts and whose queries and rotary embeddings are not scaled
        by its length; None for no limit.
    cache_layers : int
        Number of layers of the key-value cache; 0 if a layer keeps anything but plain keys and values.
    """

    obstacle: str
    attention: str
    remote_code: bool
    window: int | None
    cache_layers: int


def read_capabilities(model: Any) -> Capabilities:
    """Read the configuration of a transformers model."""
    config = model.config.get_text_config(decoder=True)
    return Capabilities(
        obstacle=_obstacle(model, config),
        attention=config._attn_implementation,
        remote_code=type(model).__module__.startswith("transformers_modules"),
        window=_window(config),
        cache_layers=_cache_layers(config),
    )


def accepts(model: Any, *names: str) -> bool:
    """Tell whether the model's `forward` has parameters with these names."""
    return set(names) <= set(inspect.signature(model.forward).parameters)


def probe_tokens(tokenizer: Any) -> list[int]:
    """Return the 48 tokens that probes use."""
    ids = list(tokenizer([_PROBE_TEXT], add_special_tokens=False)["input_ids"][0])
    return (ids * (_PROBE_TOKENS // max(1, len(ids)) + 1))[:_PROBE_TOKENS]


def logit_distances(logits: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return how far logits are from reference logits, both of shape (positions, vocabulary), at each position.

    The distance is the root mean square difference of the log-probabilities (nats) of the reference's 32 most likely
    tokens; infinite if either is NaN.
    """
    expected, tokens = reference.float().log_softmax(dim=1).topk(min(_COMPARED, reference.shape[1]), dim=1)
    actual = logits.float().log_softmax(dim=1).gather(1, tokens)
    distances = (actual - expected).square().mean(dim=1).sqrt()
    return distances.nan_to_num(nan=math.inf, posinf=math.inf)


def tolerance(dtype: torch.dtype) -> float:
    """Return the largest distance (nats) between equal computations in a number format."""
    return _TOLERANCE.get(dtype, 0.3)


def _obstacle(model: Any, config: Any) -> str:
    other = set(getattr(config, "layer_types", None) or ()) - _ATTENTION_LAYERS
    if getattr(model, "_is_stateful", False) or other:
        return f"it is a recurrent or hybrid model ({', '.join(sorted(other)) or type(model).__name__})"
    if getattr(config, "alibi", False) or config.model_type in ("bloom", "mpt"):
        return "its attention adds a bias per position in the row (ALiBi)"
    if config._attn_implementation not in _MASKABLE:
        return (
            f"its attention implementation {config._attn_implementation} accepts no 4-D mask "
            "(set attn_implementation: sdpa)"
        )
    return ""


def _window(config: Any) -> int | None:
    """Return the smallest of all attention windows and of the lengths from which queries or rotations are rescaled."""
    kinds = set(getattr(config, "layer_types", None) or ())
    unused = kinds == {"full_attention"} if kinds else getattr(config, "use_sliding_window", None) is False
    bounds = []
    for name, value in config.to_dict().items():
        is_size = "window" in name and not name.endswith(("_layers", "_pattern"))
        if (is_size or name == "attention_chunk_size") and type(value) is int and value > 0 and not unused:
            bounds.append(value)
        if name in _SCALED_FROM and type(value) is int and value > 1:
            bounds.append(value - 1)
    rope = getattr(config, "rope_parameters", None) or {}
    for parameters in [rope, *(value for value in rope.values() if isinstance(value, dict))]:
        if parameters.get("rope_type") in ("dynamic", "longrope"):
            original = parameters.get("original_max_position_embeddings")
            bounds.append(int(original or config.max_position_embeddings))
    return min(bounds, default=None)


def _cache_layers(config: Any) -> int:
    try:
        layers = DynamicCache(config=config).layers
    except Exception:  # a configuration that transformers has no cache for
        return 0
    plain = all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)
    return len(layers) if plain else 0
