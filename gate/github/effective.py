"""The configuration in force: gate.yml, where there is one, with the action's inputs over it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.config import LoadedConfig
from gate.config.overlay import Override, overlay, read_document
from gate.errors import ConfigError
from gate.github.inputs import Inputs, input_fields

DEFAULT_FILE = "gate.yml"
_NEEDED = ("baseline", "candidate", "tasks")


@dataclass(frozen=True)
class Effective:
    """A validated configuration and where it came from.

    Attributes
    ----------
    loaded : LoadedConfig
    path : Path or None
        The gate.yml; None where the inputs said all.
    task_lines : dict of str to int
        Line of each of its tasks.
    """

    loaded: LoadedConfig
    path: Path | None
    task_lines: dict[str, int]


def effective(inputs: Inputs, changed: Iterable[str], folder: Path) -> Effective:
    """Put gate.yml and the inputs together.

    Parameters
    ----------
    inputs : Inputs
    changed : iterable of str
        Names of the inputs that replace a key of gate.yml (of `read_inputs`).
    folder : Path
        Where paths in inputs start from; paths in gate.yml start from its own folder.

    Raises
    ------
    ConfigError
        The file is missing or wrong, an input's value is out of its key's limits, or something needed is nowhere.
    """
    changed = list(changed)
    file = folder / (inputs.config or DEFAULT_FILE)
    data: dict[str, Any] = {}
    lines: dict[tuple[str | int, ...], int] = {}
    there = inputs.config is not None or file.is_file()
    if there:
        data, lines = read_document(file)
    else:
        missing = [name for name in _NEEDED if name not in changed]
        if missing:
            raise ConfigError(
                "\n".join(
                    f"input {name}: required, because there is no {file.name} here." for name in missing
                ),
                f"Set it, or name a configuration file with the input config (looked for {file}).",
            )
    base = file.parent
    overrides: list[Override] = []
    for name, field in input_fields().items():
        if name in changed:
            key = field.json_schema_extra["key"]  # type: ignore[index]
            value = getattr(inputs, name.replace("-", "_"))
            overrides += _overrides(name, tuple(str(key).split(".")), value, data, folder, base)
    tasks = data.get("tasks") if isinstance(data.get("tasks"), list) else []
    task_lines = {
        str(_name(task)): lines[("tasks", index)]
        for index, task in enumerate(tasks or [])
        if ("tasks", index) in lines
    }
    return Effective(overlay(data, lines, file, overrides), file if there else None, task_lines)


def _overrides(
    name: str, key: tuple[str, ...], value: Any, data: Mapping[str, Any], folder: Path, base: Path
) -> list[Override]:
    said = f"input {name}"
    if name in ("baseline", "candidate"):
        model, gguf = _model(str(value), folder, base)
        found = data.get(name)
        other = not isinstance(found, dict) or found.get("model") != model
        changes = [Override(key, model, said)]
        if other or gguf is not None:  # a revision or a file of another model means nothing here
            changes += [Override((name, "revision"), None, said), Override((name, "gguf_file"), gguf, said)]
        return changes
    if name == "tasks":
        return [Override(key, _tasks(value, data, folder, base), said)]
    if name in ("report-path", "result-path") or (name == "store" and "://" not in value):
        value = _moved(value, folder, base)
    return [Override(key, value, said)]


def _model(text: str, folder: Path, base: Path) -> tuple[str, str | None]:
    """Return model and gguf_file; a path to a .gguf file is its folder and its name."""
    gguf = None
    if text.endswith(".gguf"):
        parent, _, gguf = text.rpartition("/")
        text = parent or "."
    if (folder / text).exists() or text.startswith("."):
        text = _moved(text, folder, base)
    return text, gguf


def _tasks(entries: list[Any], data: Mapping[str, Any], folder: Path, base: Path) -> list[Any]:
    given = data.get("tasks")
    # what is no list or has no proper name: the configuration's own check tells of it
    known = {
        name: task
        for task in (given if isinstance(given, list) else [])
        if isinstance(name := _name(task), str)
    }
    tasks = []
    for entry in entries:
        if isinstance(entry, str):
            tasks.append(known.get(entry, entry))
            continue
        files = {key: entry[key] for key in ("file", "fewshot_file") if isinstance(entry.get(key), str)}
        tasks.append(entry | {key: _moved(path, folder, base) for key, path in files.items()})
    return tasks


def _name(task: Any) -> Any:
    return task.get("name") if isinstance(task, dict) else task


def _moved(path: str, folder: Path, base: Path) -> str:
    """Return a path that starts from `folder` as one that starts from `base`."""
    place = Path(path).expanduser()
    if place.is_absolute() or folder.resolve() == base.resolve():
        return path
    return os.path.relpath(folder / place, base)
