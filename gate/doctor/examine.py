"""Runs every check of `gate doctor`, in the order in which a run depends on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from gate.common.memory import available_memory
from gate.config import LoadedConfig, load_config
from gate.doctor.finding import Finding
from gate.doctor.github import examine_github
from gate.doctor.gpu import examine_gpu, inspect_driver, inspect_torch
from gate.doctor.hub import examine_hub, inspect_hub
from gate.doctor.machine import examine_downloads, examine_memory, examine_store
from gate.doctor.models import Weights, examine_models
from gate.doctor.scoring import examine_scoring
from gate.doctor.served import examine_servers, served_engines
from gate.doctor.software import examine_software, missing_packages
from gate.engines.devices import local_engines
from gate.errors import GateError


def examine(config: Path | None, environment: Mapping[str, str], scoring: bool = False) -> Iterator[Finding]:
    """Check this machine and, if there is one, the requirements of a gate.yml. Downloads and writes nothing.

    Parameters
    ----------
    config : Path or None
        gate.yml; None checks the machine only.
    scoring : bool
        Also load each candidate, downloading it if necessary, and check its scores.
    """
    torch, hub, missing = inspect_torch(), inspect_hub(), missing_packages()
    loaded, config_finding = _load(config)
    devices = [] if loaded is None else [engine.device for engine in local_engines(loaded.config)]
    servers = {} if loaded is None else served_engines(loaded)  # their tokenizers are loaded here
    yield from examine_software(torch, missing, None if loaded is None else bool(devices or servers))
    yield config_finding
    if torch is not None:
        yield examine_gpu(inspect_driver(environment), torch, devices)
    models: list[Finding] = []
    weights: list[Weights] = []
    if loaded is not None:
        models, weights = examine_models(loaded, readable=missing is None)
    from_hub = any(model.from_hub for model in weights) or any(model.state != "ok" for model in models)
    yield examine_hub(hub, needed=from_hub)
    yield from models
    if loaded is not None and servers:
        yield from examine_servers(loaded)
    if scoring and loaded is not None and missing is None:
        for settings in loaded.config.compared.values():
            yield examine_scoring(loaded, settings)
    yield from examine_memory(weights, available_memory(), torch.memory if torch else ())
    yield examine_downloads(weights, hub.cache)
    if loaded is not None and "://" not in loaded.config.samples.store:
        yield examine_store(loaded.folder / loaded.config.samples.store)
    yield from examine_github(environment)


def _load(path: Path | None) -> tuple[LoadedConfig | None, Finding]:
    """Load gate.yml, if one is given, and report its tasks or what is wrong with it."""
    if path is None:
        return None, Finding("gate.yml", "ok", "none given; --config checks the requirements of one.")
    try:
        loaded = load_config(path)
    except GateError as error:
        return None, Finding("gate.yml", "problem", error.message, error.hint)
    tasks = loaded.config.tasks
    files = {name for task in tasks for name in (task.file, task.fewshot_file) if name is not None}
    missing = sorted(name for name in files if not (loaded.folder / name).is_file())
    if missing:
        text = f"{loaded.path}: no such task file: {', '.join(missing)}."
        return loaded, Finding("gate.yml", "problem", text, "Paths start from the folder of gate.yml.")
    gating = sum(task.role == "gating" for task in tasks)
    return loaded, Finding("gate.yml", "ok", f"{loaded.path}: {len(tasks)} task(s), {gating} gating.")
