"""The effective configuration: gate.yml, if there is one, with the action's inputs applied to it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.config import LoadedConfig
from gate.config.document import parse_document, read_text
from gate.config.overlay import Override, overlay
from gate.errors import ConfigError
from gate.github.inputs import Inputs, input_fields

_DEFAULT_FILE = "gate.yml"
_REQUIRED = ("baseline", "candidate", "tasks")


@dataclass(frozen=True)
class EffectiveConfig:
    """A validated configuration and its origin.

    Attributes
    ----------
    path : Path or None
        The gate.yml; None where the configuration comes from inputs alone.
    task_lines : dict of str to int
        Line of each task in gate.yml, from 1.
    """

    loaded: LoadedConfig
    path: Path | None
    task_lines: dict[str, int]


def effective_config(inputs: Inputs, overriding: Collection[str], folder: Path) -> EffectiveConfig:
    """Apply the inputs to gate.yml.

    Parameters
    ----------
    overriding : collection of str
        Names of the inputs that replace a key of gate.yml (from `read_inputs`).
    folder : Path
        Folder that paths in inputs start from. Paths in gate.yml start from the folder of that file.

    Raises
    ------
    ConfigError
        The file is missing or invalid, an input is outside its key's limits, or a required value is missing.
    """
    file = folder / (inputs.config or _DEFAULT_FILE)
    data: dict[str, Any] = {}
    lines: dict[tuple[str | int, ...], int] = {}
    exists = inputs.config is not None or file.is_file()
    if exists:
        data, lines = parse_document(read_text(file), file)
    else:
        missing = [name for name in _REQUIRED if name not in overriding]
        if missing:
            problems = (f"input {name}: required, because there is no {file.name} here." for name in missing)
            hint = f"Set it, or name a configuration file with the input config (looked for {file})."
            raise ConfigError("\n".join(problems), hint)
    overrides: list[Override] = []
    for name, field in input_fields().items():
        if name in overriding:
            key = field.json_schema_extra["key"]  # type: ignore[index]
            value = getattr(inputs, name.replace("-", "_"))
            overrides += _overrides(name, tuple(str(key).split(".")), value, data, folder, file.parent)
    task_lines = {
        str(_task_name(task)): lines[("tasks", index)]
        for index, task in enumerate(_listed(data))
        if ("tasks", index) in lines
    }
    return EffectiveConfig(overlay(data, lines, file, overrides), file if exists else None, task_lines)


def _overrides(
    name: str, key: tuple[str, ...], value: Any, data: Mapping[str, Any], folder: Path, base: Path
) -> list[Override]:
    """Return the changes that one input makes; `base` is the folder of gate.yml."""
    origin = f"input {name}"
    if name in ("baseline", "candidate"):
        model, gguf_file = _model(str(value), folder, base)
        settings = data.get(name)
        other_model = not isinstance(settings, dict) or settings.get("model") != model
        changes = [Override(key, model, origin)]
        if other_model or gguf_file is not None:  # the revision and the file belong to the model in gate.yml
            changes.append(Override((name, "revision"), None, origin))
            changes.append(Override((name, "gguf_file"), gguf_file, origin))
        return changes
    if name == "tasks":
        return [Override(key, _tasks(value, data, folder, base), origin)]
    if name in ("report-path", "result-path") or (name == "store" and "://" not in value):
        value = _rebase(value, folder, base)
    return [Override(key, value, origin)]


def _model(text: str, folder: Path, base: Path) -> tuple[str, str | None]:
    """Return `model` and `gguf_file`; the path of a .gguf file is split into its folder and its name."""
    gguf_file = None
    if text.endswith(".gguf"):
        parent, _, gguf_file = text.rpartition("/")
        text = parent or "."
    if (folder / text).exists() or text.startswith("."):
        text = _rebase(text, folder, base)
    return text, gguf_file


def _tasks(entries: list[Any], data: Mapping[str, Any], folder: Path, base: Path) -> list[Any]:
    """Replace the names of tasks that gate.yml defines by their definitions."""
    # malformed entries are left to the validation of the configuration
    defined = {name: task for task in _listed(data) if isinstance(name := _task_name(task), str)}
    tasks = []
    for entry in entries:
        if isinstance(entry, str):
            tasks.append(defined.get(entry, entry))
            continue
        files = {key: entry[key] for key in ("file", "fewshot_file") if isinstance(entry.get(key), str)}
        tasks.append(entry | {key: _rebase(path, folder, base) for key, path in files.items()})
    return tasks


def _listed(data: Mapping[str, Any]) -> list[Any]:
    tasks = data.get("tasks")
    return tasks if isinstance(tasks, list) else []


def _task_name(task: Any) -> Any:
    return task.get("name") if isinstance(task, dict) else task


def _rebase(text: str, folder: Path, base: Path) -> str:
    """Return a path relative to `folder` as a path relative to `base`."""
    path = Path(text).expanduser()
    if path.is_absolute() or folder.resolve() == base.resolve():
        return text
    return os.path.relpath(folder / path, base)
