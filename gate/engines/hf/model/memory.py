"""Free memory of a device, and telling out-of-memory errors from others."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import torch

from gate.common.memory import available_memory

_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def device_memory(device: torch.device) -> int:
    """Return the bytes that are free on a GPU, or in main memory for every other device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory()


def reset_peak(device: torch.device) -> None:
    """Start to measure the peak memory anew, as far as the system allows it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        _RESET.write_text("5", encoding="ascii")  # resets the peak of the resident memory; see proc(5)


def peak_memory(device: torch.device) -> int | None:
    """Return the most bytes in use since `reset_peak`: on a GPU, or of this process's main memory; None if unknown."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="ascii", errors="replace"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def is_out_of_memory(error: BaseException) -> bool:
    """Tell an out-of-memory error of torch, on the GPU or the CPU, from all others."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("not enough memory" in text or "out of memory" in text)
    )
