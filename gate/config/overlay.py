"""gate.yml with single values replaced, as the inputs of the action do; errors name the input, or the file's line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from gate.config.load import KeyPath, LoadedConfig, _Constructor, _describe, _key_lines, _message, load_config
from gate.config.model import GateConfig
from gate.errors import ConfigError


@dataclass(frozen=True)
class Override:
    """A value that takes the place of the file's.

    Attributes
    ----------
    path : tuple
        Where it goes, e.g. ``("decision", "alpha")``.
    value : object
        None stands for null.
    name : str
        What the user knows it as, e.g. ``input alpha``.
    """

    path: KeyPath
    value: Any
    name: str


def read_document(path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """Read a gate.yml without validating it: its data, and the 1-based line of every key.

    Raises
    ------
    ConfigError
        Missing, unreadable or not YAML, as `load_config`.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = None if node is None else _Constructor(text).construct_document(node)
        lines = {} if node is None else dict(_key_lines(node, ()))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        load_config(path)  # says what is wrong
        raise
    if not isinstance(data, dict):
        load_config(path)
        raise AssertionError("load_config refuses what is not a mapping")
    return data, lines


def overlay(
    data: dict[str, Any], lines: dict[KeyPath, int], path: Path, overrides: Sequence[Override]
) -> LoadedConfig:
    """Replace values and validate the whole.

    Parameters
    ----------
    data, lines
        Of `read_document`; both empty where there is no file. `data` is changed.
    path : Path
        The file; where there is none, the place it would have: relative paths start from its folder.
    overrides : sequence of Override

    Raises
    ------
    ConfigError
        All problems together; each names its input, or its line of the file.
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
        if isinstance(section, dict):  # else the file has something wrong there, which validation finds
            section[last] = override.value
    try:
        return LoadedConfig(GateConfig.model_validate(data), path, lines)
    except ValidationError as error:
        problems = "\n".join(_problems(error, lines, path, overrides))
        hint = "`gate schema` prints the JSON Schema of this file for your editor." if lines else None
        raise ConfigError(problems, hint) from None


def _problems(
    error: ValidationError, lines: dict[KeyPath, int], path: Path, overrides: Sequence[Override]
) -> Iterator[str]:
    for problem, described in zip(error.errors(), _describe(error, lines), strict=True):
        where: KeyPath = tuple(problem["loc"])
        named = [one for one in overrides if one.path == where[: len(one.path)]]
        if named:
            rest = ".".join(str(part) for part in where[len(named[-1].path) :])
            yield f"{named[-1].name}: {f'{rest}: ' if rest else ''}{_message(problem, where)}"
        elif lines:
            yield f"{path}:{described}"
        else:  # there is no file, so there is no line
            yield described.partition(": ")[2]
