"""Describes validation errors with the key, its line, what was expected and what was found."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from gate.config.document import KeyPath
from gate.config.gate_config import GateConfig


def describe(error: ValidationError, lines: dict[KeyPath, int]) -> Iterator[str]:
    """Yield one `LINE: key: message` per problem. A key without a line has that of the nearest section above it."""
    for problem in error.errors():
        # pydantic appends the member of a union to the path; such parts are not keys of the file
        path: KeyPath = tuple(problem["loc"])
        nearest = path
        while nearest and nearest not in lines:
            nearest = nearest[:-1]
        key = path if problem["type"] == "missing" else nearest
        name = ".".join(str(part) for part in key) or "the file"
        yield f"{lines.get(nearest, 1)}: {name}: {problem_message(problem, path)}"


def problem_message(problem: Any, path: KeyPath) -> str:
    """Return what is wrong at `path`, with the nearest valid key for an unknown one."""
    if problem["type"] == "extra_forbidden":
        known = _keys_at(path[:-1])
        near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        return "unknown key; " + (f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}.")
    if problem["type"] == "missing":
        return "this key is required."
    message = str(problem["msg"]).removeprefix("Value error, ")
    value = problem["input"]
    return f"{message}." if isinstance(value, dict | list) else f"{message}; found {value!r}."


def _keys_at(path: KeyPath) -> list[str]:
    """Return the valid keys of the mapping at `path`."""
    section: type[BaseModel] | None = GateConfig
    for part in path:
        if isinstance(part, int) or section is None:
            continue
        field = next((f for name, f in section.model_fields.items() if part in (name, f.alias)), None)
        section = None if field is None else _section_in(field.annotation)
    return [] if section is None else [f.alias or name for name, f in section.model_fields.items()]


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """Return the section in an annotation such as `list[TaskSettings]` or `EngineOverride | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (list, Union, types.UnionType, Annotated):
        return next((section for arg in get_args(annotation) if (section := _section_in(arg))), None)
    return None
