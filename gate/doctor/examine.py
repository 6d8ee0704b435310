"""All that the doctor looks at, in the order in which a run needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from gate.config import LoadedConfig, load_config
from gate.doctor.finding import Finding
from gate.doctor.github import examine_github
from gate.doctor.gpu import engines_in_use, examine_gpu, look_at_driver, look_at_torch
from gate.doctor.machine import examine_disk, examine_memory, memory_available
from gate.doctor.models import Weights, examine_models
from gate.doctor.scoring import examine_scoring
from gate.doctor.software import examine_hub, examine_software
from gate.errors import GateError


def examine(config: Path | None, environment: Mapping[str, str], scoring: bool = False) -> Iterator[Finding]:
    """Look at this machine and, where there is one, at what a gate.yml asks of it; nothing is downloaded or written.

    Parameters
    ----------
    config : Path or None
        gate.yml; None: only the machine.
    environment : mapping of str to str
    scoring : bool
        Load the candidate as well, downloading it where it must, and check its scores.
    """
    torch = look_at_torch()
    yield from examine_software(torch)
    loaded: LoadedConfig | None = None
    if config is None:
        yield Finding("gate.yml", "ok", "none was named; --config looks at what one asks for.")
    else:
        try:
            loaded = load_config(config)
            yield _tasks(loaded)
        except GateError as error:
            yield Finding("gate.yml", "problem", error.message, error.hint)
    if torch is not None:
        wanted = [engine.device for engine in engines_in_use(loaded.config)] if loaded else []
        yield examine_gpu(look_at_driver(environment), torch, wanted)
    models: list[Finding] = []
    weights: list[Weights] = []
    if loaded is not None:
        models, weights = examine_models(loaded)
    from_hub = any(one.from_hub for one in weights) or any(one.state == "problem" for one in models)
    yield examine_hub(environment, needed=from_hub)
    yield from models
    if scoring and loaded is not None:
        yield examine_scoring(loaded)
    yield from examine_memory(weights, memory_available(), torch.memory if torch else ())
    yield from examine_disk(weights, _store(loaded), environment)
    yield from examine_github(environment)


def _tasks(loaded: LoadedConfig) -> Finding:
    tasks = loaded.config.tasks
    files = [name for task in tasks for name in (task.file, task.fewshot_file) if name is not None]
    missing = sorted({name for name in files if not (loaded.folder / name).is_file()})
    if missing:
        text = f"{loaded.path}: no such task file: {', '.join(missing)}."
        return Finding("gate.yml", "problem", text, "Paths start from the folder of gate.yml.")
    gating = sum(task.role == "gating" for task in tasks)
    return Finding("gate.yml", "ok", f"{loaded.path}: {len(tasks)} task(s), {gating} gating.")


def _store(loaded: LoadedConfig | None) -> Path | None:
    if loaded is None or "://" in loaded.config.samples.store:
        return None
    return loaded.folder / loaded.config.samples.store
