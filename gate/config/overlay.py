"""Overrides single values of a gate.yml, for the inputs of the action."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gate.config.document import KeyPath
from gate.config.gate_config import GateConfig
from gate.config.load import SCHEMA_HINT, LoadedConfig
from gate.config.problems import describe, problem_message
from gate.errors import ConfigError


@dataclass(frozen=True)
class Override:
    """A value that replaces the one in the file.

    Attributes
    ----------
    path : tuple
        The key, e.g. ``("decision", "alpha")``.
    name : str
        How error messages refer to it, e.g. ``input alpha``.
    """

    path: KeyPath
    value: Any
    name: str


def overlay(data: dict[str, Any], lines: dict[KeyPath, int], path: Path, overrides: Sequence[Override]) -> LoadedConfig:
    """Override values and validate the result.

    Parameters
    ----------
    data, lines
        From `gate.config.document.parse_document`; both are empty if there is no file. `data` is modified.
    path : Path
        The file. Relative paths are relative to its folder, even if it does not exist.

    Raises
    ------
    ConfigError
        Reports all problems together, each with its input or its line in the file.
    """
    if not lines:
        data["version"] = 1
    for override in overrides:
        *parents, last = override.path
        section: Any = data
        for key in parents:
            if isinstance(section, dict) and section.get(key) is None:
                section[key] = {}
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, dict):  # otherwise validation reports the value in the file
            section[last] = override.value
    try:
        return LoadedConfig(GateConfig.model_validate(data), path, lines)
    except ValidationError as error:
        problems = "\n".join(_problems(error, lines, path, overrides))
        raise ConfigError(problems, SCHEMA_HINT if lines else None) from None


def _problems(
    error: ValidationError, lines: dict[KeyPath, int], path: Path, overrides: Sequence[Override]
) -> Iterator[str]:
    for problem, description in zip(error.errors(), describe(error, lines), strict=True):
        key: KeyPath = tuple(problem["loc"])
        matching = [override for override in overrides if override.path == key[: len(override.path)]]
        if matching:
            rest = ".".join(str(part) for part in key[len(matching[-1].path) :])
            yield f"{matching[-1].name}: {f'{rest}: ' if rest else ''}{problem_message(problem, key)}"
        elif lines:
            yield f"{path}:{description}"
        else:
            yield description.partition(": ")[2]
