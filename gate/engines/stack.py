"""The stack that a model runs on: facts that change rounding, and with it the answers, although the weights are equal.

The stack has the engine, the versions of the libraries that compute, the device and its name, the number format of the
computation and the batch settings. The number format of stored weights (int8, 4-bit) is part of the model instead.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

from gate.config import EngineSettings
from gate.engines.hf import SCORING

COMPUTE_DTYPES = ("bfloat16", "float16", "float32")
"""Number formats that a checkpoint of any format can be computed in."""

# features that select other kernels, in the names of Linux for x86 and ARM
_INSTRUCTIONS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "avx_vnni",
    "amx_bf16",
    "amx_fp16",
    "amx_int8",
    "asimd",
    "asimdhp",
    "bf16",
    "i8mm",
    "sve",
    "sve2",
    "svebf16",
)


def local_stack(settings: EngineSettings, device: str, hardware: str, dtype: str) -> dict[str, str]:
    """Return the stack of a model that this process loaded.

    Parameters
    ----------
    device : str
        As torch names it, e.g. `cuda:0`; the number does not matter.
    hardware : str
        Name of the GPU; a processor is named by what Linux reports.
    dtype : str
        Number format of the loaded model; left out unless it is one that any checkpoint can be computed in.
    """
    import torch
    import transformers

    facts = {
        "engine": "transformers",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "scoring": str(SCORING),
        "attention": settings.attn_implementation or "default",
        "device": device.partition(":")[0],
        "max_batch_tokens": str(settings.max_batch_tokens),
        "replicas": str(settings.replicas),
    }
    if facts["device"] == "cpu":
        name, instructions = processor()
        facts |= {
            "hardware": name,
            "instructions": " ".join([torch.backends.cpu.get_cpu_capability(), *instructions]),
            "threads": str(torch.get_num_threads()),
        }
    else:
        facts |= {"hardware": hardware, "cuda": str(torch.version.cuda)}
    return facts | _compute_dtype(dtype)


def served_stack(settings: EngineSettings, server: str, dtype: str) -> dict[str, str]:
    """Return the stack of a served model, as far as its server reports it: no hardware, rarely a number format."""
    return {
        "engine": "openai",
        "server": server,
        "concurrency": str(settings.concurrency),
    } | _compute_dtype(dtype)


def _compute_dtype(dtype: str) -> dict[str, str]:
    return {"dtype": dtype} if dtype in COMPUTE_DTYPES else {}


@cache
def processor() -> tuple[str, tuple[str, ...]]:
    """Return the processor's name, and those of its features that change how numbers are rounded."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        text = ""
    return parse_cpuinfo(text)


def parse_cpuinfo(text: str) -> tuple[str, tuple[str, ...]]:
    """Parse the text of /proc/cpuinfo; without a name there, the name is what Python's `platform` knows."""
    facts: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip().lower(), value.strip())
    name = facts.get("model name") or " ".join(
        facts[key] for key in ("cpu implementer", "cpu part", "cpu variant") if key in facts
    )
    flags = set(facts.get("flags", facts.get("features", "")).split())
    return (
        name or platform.processor() or platform.machine(),
        tuple(feature for feature in _INSTRUCTIONS if feature in flags),
    )
