"""From the text of gate.yml to a `GateConfig`; every error names the key, the line and the way out."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from gate.config.model import GateConfig
from gate.errors import ConfigError

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class LoadedConfig:
    """A validated configuration and where it came from.

    Attributes
    ----------
    config : GateConfig
    path : Path
        The file; relative paths inside it are relative to its folder.
    lines : dict
        1-based line of every key, by path, e.g. ``("tasks", 0, "prompt")``.
    """

    config: GateConfig
    path: Path
    lines: dict[KeyPath, int]

    @property
    def folder(self) -> Path:
        """Folder that relative paths in the file start from."""
        return self.path.parent


def load_config(path: Path) -> LoadedConfig:
    """Read and validate a gate.yml.

    Raises
    ------
    ConfigError
        Missing or unreadable file, broken YAML, duplicate or unknown keys, wrong types or values. All
        problems of the file are reported together.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist.",
            "Write one (`gate schema` prints its JSON Schema) or name it with --config.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}", "It must be a readable UTF-8 text file."
        ) from None
    return parse_config(text, path)


def parse_config(text: str, path: Path) -> LoadedConfig:
    """Validate the text of a gate.yml; see `load_config`."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = None if node is None else _Constructor(text).construct_document(node)
        lines = {} if node is None else dict(_key_lines(node, ()))
    except RecursionError:
        raise ConfigError(
            f"{path}: not valid YAML: nested too deeply, or an alias stands inside what it names."
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: not valid YAML: {error.problem or error.context}.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        found = "an empty file" if data is None else f"a {type(data).__name__}"
        raise ConfigError(
            f"{path}: expected keys such as version, baseline, candidate and tasks; found {found}.",
            "See the example in the README.",
        )
    try:
        return LoadedConfig(GateConfig.model_validate(data), path, lines)
    except ValidationError as error:
        problems = "\n".join(f"{path}:{line}" for line in _describe(error, lines))
        raise ConfigError(
            problems, "`gate schema` prints the JSON Schema of this file for your editor."
        ) from None


class _Constructor(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice (YAML keeps the last silently) and knows every error's line."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # PyYAML lets those of int() and date() through, e.g. for 2024-13-45
            raise yaml.constructor.ConstructorError(
                problem=str(error), problem_mark=node.start_mark
            ) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        problem=f"the key {key.value!r} is given twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _key_lines(node: yaml.Node, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            yield here, key.start_mark.line + 1
            yield from _key_lines(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), value.start_mark.line + 1
            yield from _key_lines(value, (*path, index))


def _describe(error: ValidationError, lines: dict[KeyPath, int]) -> Iterator[str]:
    """One line a problem, `LINE: key: what is wrong`; the nearest known line where the key itself has none."""
    for problem in error.errors():
        # pydantic adds the member of a union to the path; such parts are no keys of the file
        path: KeyPath = tuple(problem["loc"])
        shown = path
        while shown and shown not in lines and problem["type"] != "missing":
            shown = shown[:-1]
        anchor = shown
        while anchor and anchor not in lines:
            anchor = anchor[:-1]
        name = ".".join(str(part) for part in shown) or "the file"
        yield f"{lines.get(anchor, 1)}: {name}: {_message(problem, path)}"


def _message(problem: Any, path: KeyPath) -> str:
    if problem["type"] == "extra_forbidden":
        known = _fields_at(GateConfig, path[:-1])
        near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        return "unknown key; " + (f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}.")
    if problem["type"] == "missing":
        return "this key is required."
    message = str(problem["msg"]).removeprefix("Value error, ")
    value = problem["input"]
    found = "" if isinstance(value, dict | list) else f"; found {value!r}"
    return f"{message}{found}."


def _fields_at(model: type[BaseModel], path: KeyPath) -> list[str]:
    """Names of the keys that are valid in the mapping at `path`."""
    current: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int) or current is None:
            continue
        field = next((f for name, f in current.model_fields.items() if part in (name, f.alias)), None)
        current = None if field is None else _model_in(field.annotation)
    return [] if current is None else [f.alias or name for name, f in current.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the section behind an annotation such as `list[TaskSettings]` or `EngineOverride | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (list, Union, types.UnionType, Annotated):
        return next((found for arg in get_args(annotation) if (found := _model_in(arg))), None)
    return None
