"""Loads and validates gate.yml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from gate.config.document import KeyPath, parse_document, read_text
from gate.config.gate_config import GateConfig
from gate.config.problems import describe
from gate.errors import ConfigError

SCHEMA_HINT = "`gate schema` prints the JSON Schema of this file for your editor."


@dataclass(frozen=True)
class LoadedConfig:
    """A validated configuration, and the file that it comes from.

    Attributes
    ----------
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
    return parse_config(read_text(path), path)


def parse_config(text: str, path: Path) -> LoadedConfig:
    """Validate the text of a gate.yml; see `load_config`."""
    data, lines = parse_document(text, path)
    try:
        return LoadedConfig(GateConfig.model_validate(data), path, lines)
    except ValidationError as error:
        problems = "\n".join(f"{path}:{problem}" for problem in describe(error, lines))
        raise ConfigError(problems, SCHEMA_HINT) from None
