"""The hardware that a server of this machine computes on."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

from gate.config import EngineSettings
from gate.engines.stack import processor


def server_hardware(engine: EngineSettings) -> dict[str, str]:
    """Return the facts of the stack about hardware: the GPUs that the server sees, else the processor."""
    chosen = engine.gpus if isinstance(engine.gpus, list) else None
    gpus = {number: name for number, name in visible_gpus() if chosen is None or number in chosen}
    if gpus:
        return {"hardware": ", ".join(sorted(gpus.values()))}
    name, features = processor()
    # not `instructions`, which also names what torch in this process uses of them
    return {"hardware": name, "features": " ".join(features)}


@cache
def visible_gpus() -> tuple[tuple[int, str], ...]:
    """Return number and name of each NVIDIA GPU of this machine."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        done = subprocess.run(  # noqa: S603 - the driver's own program
            [program, "--query-gpu=index,name", "--format=csv,noheader"], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    rows = [line.partition(",") for line in done.stdout.splitlines()] if done.returncode == 0 else []
    return tuple((int(number), name.strip()) for number, _, name in rows if number.strip().isdigit())
