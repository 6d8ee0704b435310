"""Which models can write into pages (`gate.engines.hf.generation.pages`) or behind padding: by configuration and by trying."""

from __future__ import annotations

import logging
import math
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from gate.engines.hf.generation.pages import PageCache, takes
from gate.engines.hf.model.load import LoadedModel
from gate.engines.hf.model.memory import is_out_of_memory

_LOG = logging.getLogger(__name__)
_PROBE = "One two three, 4 five six. A probe, nothing else: of rows that differ in length, read side by side."
_PAGE = 3  # tokens of a page: so few that the probe text fills several
# root mean square differences: bfloat16 alone makes up to 0.1, a wrong mask or position 1
_TOLERANCE = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 0.1}
_ROUGH_TOLERANCE = 0.3
_FOUND: WeakKeyDictionary[Any, str | None] = WeakKeyDictionary()
_TOGETHER: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
_PADS: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def why_not(loaded: LoadedModel) -> str | None:
    """Return why the model cannot write into pages; None where it can. Found once a model."""
    if loaded.model not in _FOUND:
        _FOUND[loaded.model] = _reason(loaded.model) or _probe(loaded, together=False)
    return _FOUND[loaded.model]


def attends_together(loaded: LoadedModel) -> bool:
    """Tell whether the model takes `gate.engines.hf.generation.shared_attention` for its attention. Found once a model."""
    if loaded.model not in _TOGETHER:
        # other kinds of attention have their reasons: capped scores, sinks
        plain = loaded.model.config.get_text_config(decoder=True)._attn_implementation == "sdpa"
        reason = _probe(loaded, together=True) if plain else "its attention is not sdpa"
        _TOGETHER[loaded.model] = reason is None
        if reason is not None:
            _LOG.info("what prompts begin alike with is read once a text and step: %s", reason)
    return _TOGETHER[loaded.model]


def heeds_padding(loaded: LoadedModel) -> bool:
    """Tell whether padding on the left leaves the model's logits as they are. Found once a model."""
    if loaded.model not in _PADS:
        _PADS[loaded.model] = _padded_equal(loaded)
    return _PADS[loaded.model]


def layers_of(model: Any) -> list[Any]:
    """Return the model's cache, layer by layer, as transformers would make it."""
    return list(DynamicCache(config=model.config.get_text_config(decoder=True)).layers)


def reach(model: Any) -> int | None:
    """Return the longest text, in tokens, that pages are right for; None where any is.

    While a text is within the window of sliding-window attention, that is full attention. Some rotary embeddings
    change with the length of the longest text beside, beyond the length that the model was first trained on.
    """
    config = model.config.get_text_config(decoder=True)
    bounds = [
        layer.sliding_window for layer in layers_of(model) if isinstance(layer, DynamicSlidingWindowLayer)
    ]
    rope = getattr(config, "rope_parameters", None) or {}
    for entry in [rope, *(value for value in rope.values() if isinstance(value, dict))]:
        if entry.get("rope_type") in ("dynamic", "longrope"):
            original = entry.get("original_max_position_embeddings")
            bounds.append(original or getattr(config, "original_max_position_embeddings", None) or 1)
    return min(bounds, default=None)


def _reason(model: Any) -> str | None:
    """Return what the configuration has against pages."""
    config = model.config.get_text_config(decoder=True)
    if model.config.is_encoder_decoder:
        return "it is an encoder-decoder"
    if not takes(model, "past_key_values", "position_ids", "attention_mask"):
        return "its forward takes no key-value cache, mask or position ids"
    if config._attn_implementation not in ("sdpa", "eager"):
        return f"{config._attn_implementation} takes no mask of one's own"
    for layer in layers_of(model):
        if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer):
            return f"its cache has a {type(layer).__name__}, not plain keys and values"
    return None


def _probe(loaded: LoadedModel, together: bool) -> str | None:
    """Compare logits made in pages with those of plain forward passes over the same tokens."""
    model, device = loaded.model, loaded.device
    ids = loaded.tokenizer(_PROBE, add_special_tokens=False)["input_ids"][: reach(model)]
    if len(ids) < 2:
        return "the probe text is too short for its tokenizer or window"
    # rows of unequal length behind a shared beginning, and a token more than is read at once
    rows = [ids[: max(2, len(ids) * part // 4)] for part in (4, 2, 3)]
    shared = len(rows[1]) // 2
    try:
        with torch.no_grad():
            plain = [
                model(input_ids=torch.tensor([row], device=device), use_cache=False).logits[0, -2:].float()
                for row in rows
            ]
        cache = PageCache(model, len(layers_of(model)), len(ids) * (len(rows) + 1), _PAGE)
        prefix = cache.pool.take(cache.pages_for(shared))
        if shared:
            cache.read([ids[:shared]], [prefix], 0, device)
        tables = cache.fork(prefix, shared, [len(ids)] * len(rows))
        cache.read([row[shared:-2] or [0] for row in rows], tables, shared, device)
        made = [
            cache.step(
                [row[-2 + k] for row in rows],
                [len(row) - 2 + k for row in rows],
                tables,
                device,
                prefix[: shared // _PAGE] if together else [],
            )
            for k in range(2)
        ]
    except Exception as error:
        # whatever a model says to such a cache, it can still be asked plainly
        if is_out_of_memory(error):
            raise
        return f"it refuses the cache ({type(error).__name__}: {str(error).splitlines()[0][:80] if str(error) else ''})"
    off = max(_distance(made[k][row], logits[k]) for row, logits in enumerate(plain) for k in range(2))
    if off <= _tolerance(model):
        return None
    return f"its logits in pages differ from plain ones by {off:.3g} standard deviations"


def _padded_equal(loaded: LoadedModel) -> bool:
    """Compare the logits of a text with those of the same text behind padding."""
    model, device = loaded.model, loaded.device
    ids = loaded.tokenizer(_PROBE, add_special_tokens=False)["input_ids"][:8]
    gap = 3
    inputs = torch.tensor([[loaded.tokenizer.pad_token_id or 0] * gap + ids], device=device)
    mask = torch.tensor([[0] * gap + [1] * len(ids)], device=device)
    places = (mask.cumsum(1) - 1).clamp(min=0)
    options = {
        name: value
        for name, value in (("attention_mask", mask), ("position_ids", places))
        if takes(model, name)
    }
    with torch.no_grad():
        plain = model(input_ids=inputs[:, gap:], use_cache=False).logits[0, -1].float()
        behind = model(input_ids=inputs, use_cache=False, **options).logits[0, -1].float()
    return _distance(behind, plain) <= _tolerance(model)


def _distance(logits: torch.Tensor, plain: torch.Tensor) -> float:
    """Return the root mean square difference in standard deviations of the logits; infinite where it is NaN."""
    off = float((logits - plain).square().mean().sqrt() / plain.std())
    return math.inf if math.isnan(off) else off


def _tolerance(model: Any) -> float:
    return _TOLERANCE.get(model.dtype, _ROUGH_TOLERANCE)
