"""GPUs: what the driver lists, what torch can use, and whether that is what gate.yml asks for."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess  # nosec - nvidia-smi with fixed arguments
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.doctor.finding import Finding, State
from gate.engines.devices import NO_GPU

_QUERY = "name,memory.total,driver_version,compute_cap"


@dataclass(frozen=True)
class Driver:
    """What is visible without torch.

    Attributes
    ----------
    devices : tuple of str
        GPU device files, e.g. `nvidia0`.
    gpus : tuple of str
        GPUs that nvidia-smi lists: name, memory, compute capability.
    version : str or None
        Driver version.
    requested : str or None
        `NVIDIA_VISIBLE_DEVICES`, if it requests GPUs.
    """

    devices: tuple[str, ...]
    gpus: tuple[str, ...]
    version: str | None
    requested: str | None

    @property
    def has_gpu(self) -> bool:
        """Whether any GPU is visible."""
        return bool(self.devices or self.gpus)


@dataclass(frozen=True)
class Torch:
    """What torch can use.

    Attributes
    ----------
    version : str
    cuda : str or None
        CUDA version of the build; None for a CPU build.
    count : int
        GPUs that torch lists.
    error : str or None
        Why a CUDA build cannot use any GPU, or cannot use one that it lists.
    memory : tuple of (int, int)
        Free and total bytes of each GPU; zeros for an unusable one.
    """

    version: str
    cuda: str | None
    count: int
    error: str | None
    memory: tuple[tuple[int, int], ...] = ()


def inspect_driver(environment: Mapping[str, str], root: Path = Path("/")) -> Driver:
    """Look for NVIDIA GPUs: device files, the driver's version file and nvidia-smi."""
    devices = sorted(file.name for file in (root / "dev").glob("nvidia[0-9]*"))
    version = None
    try:
        text = (root / "proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
        match = re.search(r"\s(\d{3,}\.\d+(?:\.\d+)?)\s", text)
        version = match[1] if match else None
    except OSError:
        pass
    gpus: list[str] = []
    program = shutil.which("nvidia-smi", path=environment.get("PATH", ""))
    if program is not None:
        try:
            process = subprocess.run(  # noqa: S603 - fixed arguments
                [program, f"--query-gpu={_QUERY}", "--format=csv,noheader"],
                capture_output=True,
                text=True,
                timeout=20,
                check=True,
            )
            rows = csv.reader(process.stdout.splitlines(), skipinitialspace=True)
            for name, memory, driver, capability in rows:
                gpus.append(f"{name} ({memory}, compute capability {capability})")
                version = driver
        except (OSError, ValueError, subprocess.SubprocessError):
            pass  # a failing nvidia-smi lists no GPU
    requested = environment.get("NVIDIA_VISIBLE_DEVICES")
    if requested in ("", "void", "none"):
        requested = None
    return Driver(tuple(devices), tuple(gpus), version, requested)


def inspect_torch() -> Torch | None:
    """Return torch's build and its GPUs, or None if torch is not installed."""
    try:
        import torch
    except ImportError:
        return None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    error = None
    if torch.version.cuda is not None and not count:
        error = str(caught[0].message).split(" (Triggered")[0] if caught else "it finds no usable GPU"
    memory = []
    for index in range(count):
        try:
            memory.append(torch.cuda.mem_get_info(index))
        except RuntimeError as problem:  # for example in exclusive use by another process
            memory.append((0, 0))
            first_line = (str(problem).strip() or type(problem).__name__).splitlines()[0].rstrip(".")
            error = error or f"GPU {index}: {first_line}"
    return Torch(torch.__version__, torch.version.cuda, count, error, tuple(memory))


def examine_gpu(driver: Driver, torch: Torch, wanted: Iterable[str]) -> Finding:
    """Check whether the GPUs that the engines ask for are usable.

    `wanted` has the `engine.device` of every model that is loaded on this machine.
    """
    required = sorted({device for device in wanted if device not in ("auto", "cpu")})
    state: State = "problem" if required else "warn"
    consequence = "engine.device auto means the CPU here"
    if required:
        consequence = f"engine.device {', '.join(required)} is unavailable"
    listed = "; ".join(driver.gpus or driver.devices)
    version = driver.version or "of unknown version"
    if torch.count:
        missing = [device for device in required if int(device.partition(":")[2] or 0) >= torch.count]
        if missing:
            text = f"torch sees {torch.count} GPU(s), but not {', '.join(missing)}."
            return Finding("GPU", "problem", text, "Numbers start at 0.")
        if torch.error is not None:
            text = f"torch sees {torch.count} GPU(s), but cannot use all of them: {torch.error}."
            remedy = "Check with nvidia-smi whether another process holds it; CUDA_VISIBLE_DEVICES can exclude it."
            return Finding("GPU", state, text, remedy)
        name = listed or f"{torch.count} GPU(s)"
        return Finding("GPU", "ok", f"{name}; driver {version}; torch sees {torch.count}.")
    if driver.has_gpu and torch.cuda is None:
        text = f"{listed} is installed, but torch {torch.version} is a build without CUDA: {consequence}."
        remedy = "Install torch from PyPI (its Linux wheels include CUDA), or use the image without -cpu in its tag."
        return Finding("GPU", state, text, remedy)
    if driver.has_gpu:
        text = (
            f"{listed} is installed (driver {version}), but torch {torch.version} (CUDA {torch.cuda}) cannot use it: "
            f"{torch.error}: {consequence}."
        )
        remedy = "Update the driver on the runner, or install a torch build for an older CUDA version."
        return Finding("GPU", state, text, remedy)
    if driver.requested is not None:
        text = (
            f"NVIDIA_VISIBLE_DEVICES is {driver.requested}, but no GPU is visible: the container's Docker runtime "
            f"provides none: {consequence}."
        )
        return Finding("GPU", state, text, NO_GPU)
    if required:
        return Finding("GPU", "problem", f"no GPU is visible: {consequence}.", NO_GPU)
    return Finding("GPU", "ok", "none is visible; the CPU is used.")
