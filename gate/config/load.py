"""Loads and validates gate.yml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gate.config.document import KeyPath, parse_document, read_document
from gate.config.gate_config import GateConfig
from gate.config.problems import describe
from gate.errors import ConfigError

SCHEMA_HINT = "`gate schema` prints the JSON Schema of this file for your editor."


@dataclass(frozen=True)
class LoadedConfig:
    """A validated configuration, and the file that it comes from.

    Attributes
    ----------
    config : GateConfig
    path : Path
        The file. Relative paths in it are relative to its folder.
    lines : dict
        1-based line of every key, by path, e.g. ``("tasks", 0, "prompt")``.
    """

    config: GateConfig
    path: Path
    lines: dict[KeyPath, int]

    @property
    def folder(self) -> Path:
        """The folder of the file."""
        return self.path.parent


def load_config(path: Path) -> LoadedConfig:
    """Read and validate a gate.yml.

    Raises
    ------
    ConfigError
        The file is missing or unreadable, is not valid YAML, or has duplicate or unknown keys, wrong types or values.
        All validation problems are reported together.
    """
    return _validate(*read_document(path), path)


def parse_config(text: str, path: Path) -> LoadedConfig:
    """Validate the text of a gate.yml; see `load_config`."""
    return _validate(*parse_document(text, path), path)


def _validate(data: dict[str, Any], lines: dict[KeyPath, int], path: Path) -> LoadedConfig:
    try:
        return LoadedConfig(GateConfig.model_validate(data), path, lines)
    except ValidationError as error:
        raise ConfigError(
            "\n".join(f"{path}:{problem}" for problem in describe(error, lines)), SCHEMA_HINT
        ) from None
