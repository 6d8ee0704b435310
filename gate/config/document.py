"""Reads gate.yml: its data, and the line of every key."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from gate.errors import ConfigError

KeyPath = tuple[str | int, ...]
_MOST_KEYS = 100_000
_LARGEST = 4 << 20  # bytes


def read_text(path: Path) -> str:
    """Return the text of a gate.yml; a missing or unreadable file is a ConfigError."""
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path} is not a regular file.", "Check the path.")
        if path.stat().st_size > _LARGEST:
            raise ConfigError(f"{path} has more than {_LARGEST >> 20} MiB.", "Check the path.")
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
        lines = {} if node is None else _all_key_lines(node, path)
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
    if "\0" in text or "\\0" in text or "\\x00" in text or "\\u0000" in text:
        _refuse_nul(data, (), lines, path)
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
            value = super().construct_object(node, deep)
            if isinstance(value, int) and value.bit_length() > 64:  # Python refuses to write the longest ones
                raise ValueError("a whole number of more than 64 bits")
            return value
        except ValueError as error:  # PyYAML does not catch those of int() and date(), e.g. for 2024-13-45
            problem = str(error).partition("; use sys.")[0]
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark) from None

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


def _refuse_nul(value: Any, key: KeyPath, lines: dict[KeyPath, int], path: Path) -> None:
    """Raise a ConfigError for a text with a NUL character, which no path and no prompt can have."""
    if isinstance(value, dict):
        for name, entry in value.items():
            _refuse_nul(entry, (*key, str(name)), lines, path)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            _refuse_nul(entry, (*key, index), lines, path)
    elif isinstance(value, str) and "\0" in value:
        where = ".".join(map(str, key))
        raise ConfigError(f"{path}:{lines.get(key, 1)}: {where} contains a NUL character.", "Remove it.")


def _all_key_lines(node: yaml.Node, path: Path) -> dict[KeyPath, int]:
    """Return the line of every key; raise a ConfigError if aliases multiply the keys beyond any use."""
    lines = dict(islice(_key_lines(node, ()), _MOST_KEYS + 1))
    if len(lines) > _MOST_KEYS:
        raise ConfigError(
            f"{path} has more than {_MOST_KEYS:,} entries after its aliases are expanded.",
            "Remove the aliases (*name) that repeat other aliases.",
        )
    return lines


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
