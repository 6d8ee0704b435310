"""Memory of a scoring pass in tokens: how many tokens fit, and what logits and masks cost."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import torch

from gate.engines.hf.model.load import LoadedModel
from gate.engines.hf.model.memory import device_memory, is_out_of_memory
from gate.engines.hf.scoring.forward import Forward
from gate.engines.hf.scoring.trees import unpacked
from gate.engines.tokens.rows import Row

_LOG = logging.getLogger(__name__)

_USABLE = 0.7  # share of the free memory that is planned with: allocators fragment
_CPU_TOKENS = 1024  # larger passes are not faster per token: measured from 256 tokens on
_GPU_TOKENS = 65536  # enough to fill any GPU
_MIN_TOKENS = 64
_MEASURED_TOKENS = 2048  # of the pass that measures memory


@dataclass(frozen=True)
class Costs:
    """Memory of a pass besides its tokens' activations, in tokens.

    Attributes
    ----------
    position : float
        Of a position whose logits are computed.
    pair : float
        Of a (query, key) pair in an attention mask.
    """

    position: float = 0.0
    pair: float = 0.0


def automatic_tokens(loaded: LoadedModel) -> tuple[int, Costs]:
    """Return the bound of a forward pass in tokens, and its other costs; on a GPU, measured with one pass.

    The bound is a power of two, so that it does not depend on small changes in free memory.
    """
    if loaded.device.type == "cuda":
        tokens, costs = _gpu_tokens(loaded)
    else:
        tokens, costs = cpu_tokens(loaded, device_memory(loaded.device)), Costs()
    _LOG.info("forward passes of at most %d tokens", tokens)
    return tokens, costs


def _gpu_tokens(loaded: LoadedModel) -> tuple[int, Costs]:
    device = loaded.device
    run = Forward(loaded, gathered=False)
    size = _MEASURED_TOKENS
    while True:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        try:
            length = min(64, size)
            trees = unpacked([Row((1,) * length, ())] * (size // length)).trees
            logits = run.logits(trees, [(0, length - 1)])
            break
        except RuntimeError as error:
            if not is_out_of_memory(error) or size <= _MIN_TOKENS:
                raise
        size //= 2
    vocabulary, item = logits.shape[1], logits.element_size()
    head = float(vocabulary * (item + 8))  # logits, and twice in float32 for the log-softmax
    # a model without logits_to_keep computes the logits of every token, which this counts
    token = max(1.0, (torch.cuda.max_memory_allocated(device) - before) / size)
    del logits
    torch.cuda.empty_cache()
    config = loaded.model.config.get_text_config()
    eager = loaded.capabilities.attention == "eager"
    pair = config.num_attention_heads * (item + 4) + item if eager else 1 + item
    tokens = _power_of_two(min(_USABLE * device_memory(device) / token, _GPU_TOKENS))
    return tokens, Costs(position=head / token, pair=pair / token)


def cpu_tokens(loaded: LoadedModel, free: int) -> int:
    """Return the bound of a forward pass on the CPU, in tokens, with `free` bytes of memory."""
    config = loaded.model.config.get_text_config()
    hidden = getattr(config, "hidden_size", None) or 4096
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    if isinstance(inner, list | tuple):  # per layer
        inner = max(inner)
    item = loaded.model.dtype.itemsize
    # activations of one layer, and logits in float32 of every second token
    token = item * (12 * hidden + 4 * inner) + 5 * getattr(config, "vocab_size", 50_000)
    return _power_of_two(min(_USABLE * free / token, _CPU_TOKENS))


def _power_of_two(tokens: float) -> int:
    return 1 << int(math.log2(max(tokens, _MIN_TOKENS)))
