"""Reads gate.yml: its data, and the line of every key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from gate.errors import ConfigError

KeyPath = tuple[str | int, ...]


def read_text(path: Path) -> str:
    """Return the text of a gate.yml; a missing or unreadable file is a ConfigError."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist.",
            "Create it (`gate schema` prints its JSON Schema), or set its path with --config.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", "It must be a readable text file in UTF-8.") from None


def parse_document(text: str, path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """Parse the text of a gate.yml without validating its values.

    Returns
    -------
    dict
        The data.
    dict
        1-based line of every key, by path, e.g. ``("tasks", 0, "prompt")``.

    Raises
    ------
    ConfigError
        The text is not valid YAML, a key is duplicated, or the top level is not a mapping.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = None if node is None else _Loader(text).construct_document(node)
        lines = {} if node is None else dict(_key_lines(node, ()))
    except RecursionError:
        raise ConfigError(
            f"{path}: not valid YAML: nested too deeply, or an alias inside the node that it refers to."
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: not valid YAML: {error.problem or error.context}.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        content = "an empty file" if data is None else f"a {type(data).__name__}"
        raise ConfigError(
            f"{path}: expected keys such as version, baseline, candidate and tasks; found {content}.",
            "See the example in the README.",
        )
    return data, lines


class _Loader(yaml.SafeLoader):
    """A SafeLoader that rejects duplicate keys, of which YAML keeps the last, and gives every error a line."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # PyYAML does not catch those of int() and date(), e.g. for 2024-13-45
            raise yaml.constructor.ConstructorError(problem=str(error), problem_mark=node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in keys:
                    raise yaml.constructor.ConstructorError(
                        problem=f"duplicate key {key.value!r}", problem_mark=key.start_mark
                    )
                keys.add(key.value)
        return super().construct_mapping(node, deep)


def _key_lines(node: yaml.Node, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            key_path = (*path, str(key.value))
            yield key_path, key.start_mark.line + 1
            yield from _key_lines(value, key_path)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), value.start_mark.line + 1
            yield from _key_lines(value, (*path, index))
