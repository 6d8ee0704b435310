"""Describes validation errors with the key, its line, what was expected and what was found."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from gate.config.document import KeyPath
from gate.config.gate_config import GateConfig

_MOST_SHOWN = 200  # characters of a wrong value


def describe(error: ValidationError, lines: dict[KeyPath, int]) -> Iterator[str]:
    """Yield one `LINE: key: message` per problem. A key without a line has that of the nearest section above it."""
    for problem in error.errors():
        path: KeyPath = tuple(problem["loc"])
        nearest = _keys_of(path)
        while nearest and nearest not in lines:
            nearest = nearest[:-1]
        key = (*nearest, path[-1]) if problem["type"] == "missing" and path else nearest
        if problem["type"] == "union_tag_not_found":  # which section it is depends on `kind`, which is not there
            key = (*nearest, _misspelt_kind(problem) or "kind")
        name = ".".join(str(part) for part in key) or "the file"
        yield f"{lines.get(nearest, 1)}: {name}: {problem_message(problem, path)}"


def problem_message(problem: Any, path: KeyPath) -> str:
    """Return what is wrong at `path`, with the nearest valid key for an unknown one."""
    if problem["type"] == "extra_forbidden":
        known = _keys_at(path[:-1])
        near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        return "unknown key; " + (f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}.")
    if problem["type"] == "union_tag_not_found":
        return "unknown key; did you mean kind?" if _misspelt_kind(problem) else "this key is required."
    if problem["type"] == "missing":
        return "this key is required."
    message = str(problem["msg"]).removeprefix("Value error, ")
    value = problem["input"]
    found = repr(value)
    found = f"{found[:_MOST_SHOWN]}..." if len(found) > _MOST_SHOWN else found
    return f"{message}." if isinstance(value, dict | list) else f"{message}; found {found}."


def _misspelt_kind(problem: Any) -> str | None:
    """Return the key that looks like `kind`, in a mapping without it."""
    near = difflib.get_close_matches("kind", map(str, problem["input"]), n=1, cutoff=0.5)
    return near[0] if near else None


def _keys_at(path: KeyPath) -> list[str]:
    """Return the valid keys of the mapping at `path`."""
    sections = _follow(path)[1]
    return list(dict.fromkeys(field.alias or name for one in sections for name, field in one.model_fields.items()))


def _keys_of(path: KeyPath) -> KeyPath:
    """Return a path without the members of unions that pydantic inserts: they are not keys of the file."""
    return _follow(path)[0]


def _follow(path: KeyPath) -> tuple[KeyPath, list[type[BaseModel]]]:
    """Return the keys of a path, and the sections that may be at its end."""
    sections: list[type[BaseModel]] = [GateConfig]
    keys: KeyPath = ()
    for part in path:
        member = None if isinstance(part, int) else _member(sections, part)
        if member is not None:
            sections = [member]
            continue
        keys = (*keys, part)
        if isinstance(part, int):
            continue
        fields = [(name, field) for section in sections for name, field in section.model_fields.items()]
        field = next((field for name, field in fields if part in (name, field.alias)), None)
        sections = [] if field is None else _sections_in(field.annotation)
    return keys, sections


def _member(sections: list[type[BaseModel]], name: str) -> type[BaseModel] | None:
    """Return the member of a union that pydantic names in a path, by its class or its `kind`; None for a key."""
    for section in sections:
        kind = section.model_fields.get("kind")
        if section.__name__ in re.findall(r"\w+", name) or (
            len(sections) > 1 and kind and name in get_args(kind.annotation)
        ):
            return section
    return None


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections in an annotation such as `list[TaskSettings]` or `EngineOverride | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (list, Union, types.UnionType, Annotated):
        return [section for arg in get_args(annotation) for section in _sections_in(arg)]
    return []
