"""How many tokens fit into one forward pass, from free memory and what a token was measured to take."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from gate.engines.hf.model.load import LoadedModel
from gate.engines.hf.scoring.forward import Forward
from gate.engines.hf.scoring.trees import chains
from gate.engines.tokens.requests import Row, Target

_LOG = logging.getLogger(__name__)

_SAFE = 0.7  # part of the free memory that is planned with: allocators fragment
_CPU_TOKENS = 1024  # measured: from about 256 tokens on a pass gets no faster a token, and caches get colder
_GPU_TOKENS = 65536  # enough to fill any GPU
_FLOOR = 64
_PROBE = 2048  # tokens of the pass that is measured


@dataclass(frozen=True)
class Costs:
    """What else takes memory in a pass, in tokens: of a position whose logits are computed, of a pair in a mask."""

    position: float = 0.0
    pair: float = 0.0


def is_out_of_memory(error: BaseException) -> bool:
    """Tell an out-of-memory error of torch, on the GPU or the CPU, from all others."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("not enough memory" in text or "out of memory" in text)
    )


def free_memory() -> None:
    """Give cached GPU memory back."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def automatic_tokens(loaded: LoadedModel, multiple: int) -> tuple[int, Costs]:
    """Return the bound of a forward pass in tokens, and what else to count; a power of two, so that runs repeat.

    On a GPU one pass is run to measure the memory that a token takes.
    """
    if loaded.device.type == "cuda":
        tokens, costs = _on_gpu(loaded, multiple)
    else:
        tokens, costs = _on_cpu(loaded), Costs()
    _LOG.info("forward passes of at most %d tokens", tokens)
    return tokens, costs


def _on_gpu(loaded: LoadedModel, multiple: int) -> tuple[int, Costs]:
    device = loaded.device
    run = Forward(loaded, multiple, gathered=False)
    size = _PROBE
    while True:
        free_memory()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        try:
            length = min(64, size)
            row = Row((1,) * length, (Target((0, 0), length, (1,)),))
            logits = run.logits(chains([row] * (size // length)).trees, [(0, length - 1)])
            break
        except RuntimeError as error:
            if not is_out_of_memory(error) or size <= _FLOOR:
                raise
        size //= 2
    vocabulary, item = logits.shape[1], logits.element_size()
    head = float(vocabulary * (item + 8))  # logits, and twice in float32 for the log-softmax
    # without logits_to_keep this counts the logits of every token, which such a model then really makes
    token = max(1.0, (torch.cuda.max_memory_allocated(device) - before) / size)
    del logits
    free_memory()
    budget = _SAFE * torch.cuda.mem_get_info(device)[0]
    config = loaded.model.config.get_text_config()
    eager = loaded.model.config._attn_implementation == "eager"
    pair = (1 + item) if not eager else config.num_attention_heads * (item + 4) + item
    tokens = _power_of_two(min(budget / token, _GPU_TOKENS))
    return tokens, Costs(position=head / token, pair=pair / token)


def _on_cpu(loaded: LoadedModel) -> int:
    free = available()
    if free is None:
        return _CPU_TOKENS
    config = loaded.model.config.get_text_config()
    hidden = getattr(config, "hidden_size", None) or 4096
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    inner = max(inner) if isinstance(inner, list | tuple) else inner
    item = loaded.model.dtype.itemsize
    # activations of one layer, and logits in float32 of every second token
    token = item * (12 * hidden + 4 * inner) + 5 * getattr(config, "vocab_size", 50_000)
    return _power_of_two(min(_SAFE * free / token, _CPU_TOKENS))


def _power_of_two(tokens: float) -> int:
    power = _FLOOR
    while power * 2 <= tokens:
        power *= 2
    return power


def available() -> int | None:
    """Return the bytes of main memory that are free for this process, or None where the system does not say."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        if "SC_AVPHYS_PAGES" in os.sysconf_names:
            found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    try:  # a container's own limit
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
        if limit != "max":
            found.append(max(0, int(limit) - used))
    except (OSError, ValueError):
        pass
    return min(found, default=None)
