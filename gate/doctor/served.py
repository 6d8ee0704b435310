"""The servers that gate.yml asks the gate to start: whether their programs are installed, and their GPUs visible."""

from __future__ import annotations

from gate.config import EngineSettings, LoadedConfig
from gate.doctor.finding import Finding
from gate.errors import GateError


def served_engines(loaded: LoadedConfig) -> dict[str, EngineSettings]:
    """Return the engines that start a server, by the name of their model."""
    config = loaded.config
    engines = {name: config.engine_of(model) for name, model in config.models.items()}
    return {name: engine for name, engine in engines.items() if engine.kind == "served"}


def examine_servers(loaded: LoadedConfig) -> list[Finding]:
    """Check the server of each model without starting it; models with the same server share a finding."""
    from gate.engines.served.command import command_words
    from gate.engines.served.hardware import visible_gpus
    from gate.engines.served.ports import choose_port
    from gate.engines.served.programs import versions

    findings: dict[tuple[str, str], list[str]] = {}
    problems: list[Finding] = []
    for name, engine in served_engines(loaded).items():
        what = f"server of {name}"
        try:
            words = command_words(engine, loaded.config.models[name], loaded.folder)
            found = versions(engine, loaded.folder)
            choose_port(engine.port)
        except GateError as error:
            problems.append(Finding(what, "problem", error.message, error.hint))
            continue
        present = [number for number, _ in visible_gpus()]
        missing = sorted(set(engine.gpus if isinstance(engine.gpus, list) else ()) - set(present))
        if missing:
            text = f"engine.gpus names {missing}, but nvidia-smi lists {present or 'no GPU'}."
            problems.append(Finding(what, "problem", text, "Correct engine.gpus; numbers start at 0."))
            continue
        findings.setdefault((words[0], found), []).append(name)
    shared = [
        Finding("server", "ok", f"{program} ({found}) is started for {', '.join(names)}.")
        for (program, found), names in findings.items()
    ]
    return shared + problems
