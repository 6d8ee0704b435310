"""Memory and disk, beside what the models need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from gate.doctor.finding import Finding, size
from gate.doctor.models import Weights


def memory_available(root: Path = Path("/")) -> int | None:
    """Return the bytes of memory that this process may still use; None where that is not known.

    The kernel's estimate, or less where a container's limit (cgroup v2 or v1) is lower.
    """
    free: int | None = None
    try:
        for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    for limit, used in (
        ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            left = int((root / limit).read_text(encoding="ascii")) - int(
                (root / used).read_text(encoding="ascii")
            )
        except (OSError, ValueError):  # `max` is no number: no limit
            continue
        free = left if free is None else min(free, left)
    return free


def examine_memory(
    weights: Sequence[Weights], free: int | None, gpu: Sequence[tuple[int, int]] = ()
) -> list[Finding]:
    """Say whether each model fits; they are loaded one after another.

    Parameters
    ----------
    weights : sequence of Weights
    free : int or None
        Bytes of main memory.
    gpu : sequence of (int, int)
        Free and total bytes of each GPU that torch sees.
    """
    if free is None:
        findings = [Finding("memory", "warn", "how much is free is not known on this system.")]
    else:
        findings = [Finding("memory", "ok", f"{size(free)} free.")]
    for one in weights:
        room, where = (free, "memory")
        if one.device == "balanced" and gpu:
            room, where = sum(pair[0] for pair in gpu), f"the memory of {len(gpu)} GPUs"
        elif gpu and one.device != "cpu":
            index = int(one.device.partition(":")[2] or 0)
            if index >= len(gpu):
                continue  # said at the GPU
            if not gpu[index][1]:
                continue  # it cannot be used, which is said at the GPU
            room, where = gpu[index][0], f"the memory of GPU {index}"
        if room is None or one.loaded is None:
            continue
        if one.loaded > room:
            findings.append(
                Finding(
                    f"{one.role} in memory",
                    "problem",
                    f"its weights take {size(one.loaded)}, and {where} has {size(room)} free.",
                    "Use a larger runner, engine.device: balanced over several GPUs, or a smaller dtype.",
                )
            )
        elif one.loaded > 0.8 * room:
            findings.append(
                Finding(
                    f"{one.role} in memory",
                    "warn",
                    f"its weights take {size(one.loaded)} of the {size(room)} free in {where}; batches need room too.",
                    "Lower engine.max_batch_tokens, or use a larger runner.",
                )
            )
        else:
            findings.append(
                Finding(f"{one.role} in memory", "ok", f"{size(one.loaded)} of {size(room)} free in {where}.")
            )
    return findings


def examine_disk(
    weights: Sequence[Weights], store: Path | None, environment: Mapping[str, str]
) -> list[Finding]:
    """Say whether downloads and the store have room."""
    findings = []
    cache = hub_cache(environment)
    missing = sum(one.to_download or 0 for one in weights)
    free = shutil.disk_usage(_existing(cache)).free
    if missing > free:
        findings.append(
            Finding(
                "disk",
                "problem",
                f"{size(missing)} are to be downloaded to {cache}, and {size(free)} are free there.",
                "Free some space, or set HF_HOME to a larger disk.",
            )
        )
    else:
        text = f"{size(free)} free at {cache}" + (
            f"; {size(missing)} are to be downloaded." if missing else "."
        )
        findings.append(Finding("disk", "ok", text))
    if store is None:
        return findings
    place = _existing(store)
    free = shutil.disk_usage(place).free
    if not os.access(place, os.W_OK):
        findings.append(
            Finding("store", "problem", f"{place} cannot be written.", "Name another place in samples.store.")
        )
    elif free < 2**27:
        findings.append(
            Finding(
                "store",
                "warn",
                f"{size(free)} are free at {place}.",
                "A task of 10,000 items takes up to 10 MiB.",
            )
        )
    else:
        findings.append(_store(store, free))
    return findings


def _store(store: Path, free: int) -> Finding:
    sets = sorted((store / "baseline").glob("*/*/manifest.json"), key=lambda file: file.stat().st_mtime)
    if not sets:
        text = f"{store} holds no baseline: the first run evaluates it; {size(free)} free."
        return Finding("store", "ok", text)
    models = {file.parent.parent.name for file in sets}
    text = f"{store} holds {len(sets)} baseline set(s) of {len(models)} model(s); {size(free)} free."
    return Finding("store", "ok", text)


def hub_cache(environment: Mapping[str, str]) -> Path:
    """Return where huggingface_hub keeps models."""
    given = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE")
    if given:
        return Path(given).expanduser()
    home = environment.get("HF_HOME") or f"{environment.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return Path(home).expanduser() / "hub"


def _existing(path: Path) -> Path:
    """Return the nearest folder above a path that is there."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
