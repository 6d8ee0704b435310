"""Whether a model supports a paged cache, shared-prefix attention and left padding: probes, run once per model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import torch

from gate.engines.hf.generation.paged_model import PagedModel
from gate.engines.hf.model.capabilities import accepts, logit_distances, probe_tokens, tolerance
from gate.engines.hf.model.load import LoadedModel
from gate.engines.hf.model.memory import is_out_of_memory
from gate.errors import first_line

_LOG = logging.getLogger(__name__)
_PAGE_SIZE = 3  # small, so that the probe fills several pages
_PADDING = 8  # tokens, twice as many as the text has, so that a model that reads them changes clearly

T = TypeVar("T")


def _once(probe: Callable[[LoadedModel], T]) -> Callable[[LoadedModel], T]:
    """Keep the result of a probe with the model."""

    @wraps(probe)
    def run(loaded: LoadedModel) -> T:
        if probe.__name__ not in loaded.probes:
            loaded.probes[probe.__name__] = probe(loaded)
        result: T = loaded.probes[probe.__name__]
        return result

    return run


@_once
def paging_obstacle(loaded: LoadedModel) -> str | None:
    """Return why the model cannot use a paged cache; None if it can."""
    if loaded.capabilities.obstacle:
        return loaded.capabilities.obstacle
    if not accepts(loaded.model, "past_key_values", "position_ids", "attention_mask"):
        return "its forward accepts no key-value cache, attention mask or position ids"
    if not loaded.capabilities.cache_layers:
        return "its cache holds more than plain keys and values"
    return _probe_pages(loaded, shared_prefix=False)


@_once
def supports_shared_prefix(loaded: LoadedModel) -> bool:
    """Tell whether `gate.engines.hf.generation.shared_prefix_attention` can replace the model's attention."""
    # models with other attention need it: capped scores, sinks
    sdpa = loaded.capabilities.attention == "sdpa"
    reason = _probe_pages(loaded, shared_prefix=True) if sdpa else "its attention is not sdpa"
    if reason is not None:
        _LOG.info("shared-prefix attention is disabled: %s", reason)
    return reason is None


@_once
def ignores_padding(loaded: LoadedModel) -> bool:
    """Tell whether padding on the left leaves the model's logits unchanged.

    Sparse attention does not: it chooses blocks of keys that are counted from the start of the row, and only rows of
    many blocks show it, which are too long for a probe.
    """
    model, device = loaded.model, loaded.device
    if any("sparse" in kind for kind in getattr(model.config.get_text_config(), "layer_types", None) or ()):
        return False
    ids = probe_tokens(loaded.tokenizer)[: _PADDING // 2]
    inputs = torch.tensor([[loaded.tokenizer.pad_token_id or 0] * _PADDING + ids], device=device)
    mask = torch.tensor([[0] * _PADDING + [1] * len(ids)], device=device)
    options = {"attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
    options = {name: value for name, value in options.items() if accepts(model, name)}
    with torch.no_grad():
        plain = model(input_ids=inputs[:, _PADDING:], use_cache=False).logits[:, -1]
        padded = model(input_ids=inputs, use_cache=False, **options).logits[:, -1]
    return float(logit_distances(padded, plain)) <= tolerance(model.dtype)


def _probe_pages(loaded: LoadedModel, shared_prefix: bool) -> str | None:
    """Compare the logits of a paged cache with those of plain forward passes over the same tokens."""
    model, device = loaded.model, loaded.device
    ids = probe_tokens(loaded.tokenizer)[: loaded.capabilities.window]
    if len(ids) < 2:
        return "the probe text is too short for its tokenizer or attention window"
    # sequences of unequal length with a common prefix; a prefill of all but two tokens, then two decode steps
    sequences = [ids[: max(2, len(ids) * quarters // 4)] for quarters in (4, 2, 3)]
    indices = range(len(sequences))
    shared = len(sequences[1]) // 2
    try:
        with torch.no_grad():
            plain = [
                model(input_ids=torch.tensor([tokens], device=device), use_cache=False).logits[0, -2:]
                for tokens in sequences
            ]
        num_pages = len(ids) * (len(sequences) + 1)
        paged = PagedModel(loaded, num_pages, _PAGE_SIZE)
        if shared:
            paged.prefill_prefix(tuple(ids[:shared]))
        paged.fork(dict.fromkeys(indices, len(ids)), shared)
        paged.prefill(indices, [tokens[shared:-2] or [0] for tokens in sequences], shared)
        steps = [
            paged.decode(
                indices,
                [tokens[step] for tokens in sequences],
                [len(tokens) + step for tokens in sequences],
                shared_prefix,
            )
            for step in (-2, -1)
        ]
    except Exception as error:  # models fail in many ways; this one generates in static batches
        if is_out_of_memory(error):
            raise
        return f"it fails with a paged cache ({type(error).__name__}: {first_line(error)[:80]})"
    distance = float(logit_distances(torch.stack(steps, dim=1).flatten(0, 1), torch.cat(plain)).max())
    if distance <= tolerance(model.dtype):
        return None
    return f"its logits with a paged cache differ from plain ones by {distance:.3g} nats"
