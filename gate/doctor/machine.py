"""Memory and disk space, compared with what the models need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from gate.doctor.finding import Finding, size
from gate.doctor.models import Weights

_LOW_DISK = 2**27  # bytes; a task of 10,000 items takes up to 10 MiB


def examine_memory(weights: Sequence[Weights], free: int, gpus: Sequence[tuple[int, int]] = ()) -> list[Finding]:
    """Check whether each model fits into memory; they are loaded one after another.

    Parameters
    ----------
    free : int
        Free bytes of main memory.
    gpus : sequence of (int, int)
        Free and total bytes of each GPU that torch lists; a total of 0 marks an unusable GPU.
    """
    findings = [Finding("memory", "ok", f"{size(free)} free.")]
    for model in weights:
        device = _free_on_device(model.device, free, gpus)
        if model.loaded is None or device is None:
            continue
        available, where = device
        what = f"{model.role} in memory"
        if model.loaded > available:
            text = f"its weights take {size(model.loaded)}, but {where} has {size(available)} free."
            remedy = "Use a larger runner, engine.device: balanced over several GPUs, or a smaller dtype."
            findings.append(Finding(what, "problem", text, remedy))
            continue
        text = f"its weights take {size(model.loaded)} of {size(available)} free in {where}"
        if model.loaded > 0.8 * available:
            remedy = "Lower engine.max_batch_tokens, or use a larger runner."
            findings.append(Finding(what, "warn", f"{text}; batches need memory too.", remedy))
        else:
            findings.append(Finding(what, "ok", f"{text}."))
    return findings


def _free_on_device(device: str, free: int, gpus: Sequence[tuple[int, int]]) -> tuple[int, str] | None:
    """Return the free bytes of a device and its description, or None if the device is unusable."""
    if device == "balanced" and gpus:
        return sum(pair[0] for pair in gpus), f"the memory of {len(gpus)} GPUs"
    if device == "cpu" or not gpus:
        return free, "memory"
    index = int(device.partition(":")[2] or 0)
    if index >= len(gpus) or not gpus[index][1]:  # the finding about the GPU reports it
        return None
    return gpus[index][0], f"the memory of GPU {index}"


def examine_downloads(weights: Sequence[Weights], cache: Path) -> Finding:
    """Check whether the missing models fit on the disk of the hub's cache."""
    missing = sum(model.to_download or 0 for model in weights)
    free = shutil.disk_usage(_nearest_existing(cache)).free
    if missing > free:
        text = f"{size(missing)} must be downloaded to {cache}, but only {size(free)} are free there."
        return Finding("disk", "problem", text, "Free some space, or set HF_HOME to a larger disk.")
    text = f"{size(free)} free at {cache}"
    return Finding("disk", "ok", f"{text}; {size(missing)} must be downloaded." if missing else f"{text}.")


def examine_store(store: Path) -> Finding:
    """Check the local store: writable, enough space, and which baselines it contains."""
    folder = _nearest_existing(store)
    free = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        text = f"{folder} is not writable."
        return Finding("store", "problem", text, "Set samples.store to another folder.")
    if free < _LOW_DISK:
        text = f"{size(free)} are free at {folder}."
        return Finding("store", "warn", text, "A task of 10,000 items takes up to 10 MiB.")
    sets = list((store / "baseline").glob("*/*/manifest.json"))
    if not sets:
        text = f"{store} contains no baseline, so the first run evaluates it; {size(free)} free."
    else:
        models = {file.parent.parent.name for file in sets}
        text = f"{store} contains {len(sets)} baseline set(s) of {len(models)} model(s); {size(free)} free."
    return Finding("store", "ok", text)


def _nearest_existing(path: Path) -> Path:
    """Return the path, or its nearest parent that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
