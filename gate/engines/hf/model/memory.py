"""Free memory of a device, and telling out-of-memory errors from others."""

from __future__ import annotations

import torch

from gate.common.memory import available_memory


def device_memory(device: torch.device) -> int:
    """Return the bytes that are free on a GPU, or in main memory for every other device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory()


def is_out_of_memory(error: BaseException) -> bool:
    """Tell an out-of-memory error of torch, on the GPU or the CPU, from all others."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("not enough memory" in text or "out of memory" in text)
    )
