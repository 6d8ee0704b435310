"""GPUs: what the driver shows, what torch sees, and whether that is what gate.yml asks for."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess  # nosec - nvidia-smi with fixed arguments
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.config import EngineSettings, GateConfig
from gate.doctor.finding import Finding, State

_QUERY = "name,memory.total,driver_version,compute_cap"


@dataclass(frozen=True)
class Driver:
    """What is visible without torch.

    Attributes
    ----------
    devices : tuple of str
        GPU device files, e.g. `nvidia0`.
    gpus : tuple of str
        What nvidia-smi lists: name, memory, compute capability.
    version : str or None
        Of the driver.
    asked : str or None
        `NVIDIA_VISIBLE_DEVICES`, where it asks for GPUs.
    """

    devices: tuple[str, ...]
    gpus: tuple[str, ...]
    version: str | None
    asked: str | None

    @property
    def there(self) -> bool:
        """Whether any GPU is visible."""
        return bool(self.devices or self.gpus)


@dataclass(frozen=True)
class Torch:
    """What torch sees.

    Attributes
    ----------
    version : str
    cuda : str or None
        The CUDA version of its build; None for a CPU build.
    count : int
        Usable GPUs.
    trouble : str or None
        What it says where a CUDA build finds no usable GPU, or one of those that it lists cannot be used.
    memory : tuple of (int, int)
        Free and total bytes of each GPU; zeros for one that cannot be used.
    """

    version: str
    cuda: str | None
    count: int
    trouble: str | None
    memory: tuple[tuple[int, int], ...] = ()


def look_at_driver(environment: Mapping[str, str], root: Path = Path("/")) -> Driver:
    """Look for NVIDIA GPUs by device files, the driver's own file and nvidia-smi."""
    devices = sorted(file.name for file in (root / "dev").glob("nvidia[0-9]*"))
    version = None
    try:
        text = (root / "proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
        found = re.search(r"\s(\d{3,}\.\d+(?:\.\d+)?)\s", text)
        version = found[1] if found else None
    except OSError:
        pass
    gpus: list[str] = []
    program = shutil.which("nvidia-smi", path=environment.get("PATH", ""))
    if program is not None:
        try:
            done = subprocess.run(  # noqa: S603 - fixed arguments
                [program, f"--query-gpu={_QUERY}", "--format=csv,noheader"],
                capture_output=True,
                text=True,
                timeout=20,
                check=True,
            )
            for name, memory, driver, capability in csv.reader(
                io.StringIO(done.stdout), skipinitialspace=True
            ):
                gpus.append(f"{name} ({memory}, compute capability {capability})")
                version = driver
        except (OSError, ValueError, subprocess.SubprocessError):
            pass  # it is there and shows nothing: as good as none
    asked = environment.get("NVIDIA_VISIBLE_DEVICES")
    return Driver(
        tuple(devices), tuple(gpus), version, None if asked in (None, "", "void", "none") else asked
    )


def look_at_torch() -> Torch | None:
    """Ask torch for its build and its GPUs; None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    trouble = None
    if torch.version.cuda is not None and not count:
        trouble = str(said[0].message).split(" (Triggered")[0] if said else "it finds no usable GPU"
    memory = []
    for index in range(count):
        try:
            memory.append(torch.cuda.mem_get_info(index))
        except RuntimeError as error:  # in exclusive use by another process, fallen off the bus, and the like
            memory.append((0, 0))
            first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            trouble = trouble or f"GPU {index}: {first}"
    return Torch(torch.__version__, torch.version.cuda, count, trouble, tuple(memory))


def examine_gpu(driver: Driver, torch: Torch, wanted: Iterable[str]) -> Finding:
    """Say whether the GPUs are what the engines ask for.

    Parameters
    ----------
    driver, torch
        Of `look_at_driver` and `look_at_torch`.
    wanted : iterable of str
        `engine.device` of the engines in use.
    """
    from gate.engines.hf.model.load import NO_GPU

    must = sorted({device for device in wanted if device not in ("auto", "cpu")})
    short: State = "problem" if must else "warn"
    means = (
        f"engine.device {', '.join(must)} cannot be had" if must else "engine.device auto means the CPU here"
    )
    seen = "; ".join(driver.gpus or driver.devices)
    if torch.count:
        high = [device for device in must if int(device.partition(":")[2] or 0) >= torch.count]
        if high:
            return Finding(
                "GPU",
                "problem",
                f"torch sees {torch.count} GPU(s); {', '.join(high)} is none of them.",
                "Numbers start at 0.",
            )
        if torch.trouble is not None:
            return Finding(
                "GPU",
                short,
                f"torch sees {torch.count} GPU(s), but cannot use all of them: {torch.trouble}.",
                "See with nvidia-smi whether another process holds it; CUDA_VISIBLE_DEVICES leaves it out.",
            )
        named = seen or f"{torch.count} GPU(s)"
        return Finding(
            "GPU", "ok", f"{named}; driver {driver.version or 'not known'}; torch sees {torch.count}."
        )
    if driver.there and torch.cuda is None:
        return Finding(
            "GPU",
            short,
            f"{seen} is here, but torch {torch.version} is a build without CUDA: {means}.",
            "Install torch from PyPI (its Linux wheels bring CUDA), or use the image without -cpu in its tag.",
        )
    if driver.there:
        return Finding(
            "GPU",
            short,
            f"{seen} is here (driver {driver.version or 'not known'}), but torch {torch.version} "
            f"(CUDA {torch.cuda}) cannot use it: {torch.trouble}: {means}.",
            "Update the driver on the runner, or take a torch build for an older CUDA.",
        )
    if driver.asked is not None:
        return Finding(
            "GPU",
            short,
            f"NVIDIA_VISIBLE_DEVICES is {driver.asked}, but no GPU is visible: the container runs under a Docker "
            f"runtime that gives none: {means}.",
            NO_GPU,
        )
    if must:
        return Finding("GPU", "problem", f"no GPU is visible: {means}.", NO_GPU)
    return Finding("GPU", "ok", "none is visible; the CPU is used.")


def engines_in_use(config: GateConfig) -> list[EngineSettings]:
    """Return the engines that load weights on this machine."""
    both = [config.engine_of(model) for model in (config.baseline, config.candidate)]
    return [engine for engine in both if engine.kind == "transformers" and engine.replicas == 1]


def require_devices(config: GateConfig) -> None:
    """Refuse a GPU that was asked for and is not there, before anything is read, hashed or evaluated.

    torch is imported only where a GPU was asked for.

    Raises
    ------
    EvaluationError
        With both remedies for containers.
    """
    wanted = {engine.device for engine in engines_in_use(config)} - {"auto", "cpu"}
    if wanted:
        from gate.engines.hf.model.load import resolve_device

        for device in sorted(wanted):
            resolve_device(device)
