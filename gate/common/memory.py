"""Free main memory, within the limit of a container."""

from __future__ import annotations

from pathlib import Path

import psutil

# (limit, usage) of the process's control group, version 2 and version 1
_CGROUP_FILES = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)


def available_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes of main memory that this process can still allocate.

    psutil reports the memory of the whole machine, so the limit of the container's control group is applied here.
    """
    free = psutil.virtual_memory().available
    for limit, usage in _CGROUP_FILES:
        try:
            headroom = int((cgroup / limit).read_text("ascii")) - int((cgroup / usage).read_text("ascii"))
        except (OSError, ValueError):  # no such control group, or the limit is the word "max"
            continue
        free = min(free, max(0, headroom))
    return int(free)
