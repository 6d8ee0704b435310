"""Secrets of the job's environment never appear in what is published, even where a model says one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass, replace
from functools import cache
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel

T = TypeVar("T")

_SECRET = re.compile(r"(^|[_-])(TOKEN|SECRET|PASSWD|API_?KEY|CREDENTIALS?)$|_KEY$|PASSWORD$", re.I)
_SHORTEST = 8


def secrets_of(environment: Mapping[str, str], *more: str | None) -> list[str]:
    """Return the values of variables that are named like secrets, longest first; none shorter than 8 characters."""
    found = {value.strip() for key, value in environment.items() if _SECRET.search(key)}
    found |= {value.strip() for value in more if value}
    found |= {
        line.strip() for value in found for line in value.splitlines()
    }  # of a key in several lines, any
    return sorted((value for value in found if len(value) >= _SHORTEST), key=len, reverse=True)


def redact(value: T, secrets: Iterable[str]) -> T:
    """Return a result, or any data that a report is made of, with `***` for every secret in its texts.

    Keys stay, and so do fields with fixed values (verdict, role, test and the like): they hold words of ours, one of
    which may be somebody's password.
    """
    secrets = sorted((secret for secret in secrets if len(secret) >= _SHORTEST), key=len, reverse=True)
    if not secrets:
        return value
    clean: T = _clean(value, secrets)
    return clean


def _clean(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "***")
        return value
    if isinstance(value, BaseModel):
        annotations = {name: field.annotation for name, field in type(value).model_fields.items()}
        return value.model_copy(update=_fields(value, annotations, secrets))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **_fields(value, _hints(type(value)), secrets))
    if isinstance(value, Mapping):
        return {key: _clean(one, secrets) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_clean(one, secrets) for one in value)
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _fields(value: Any, annotations: Mapping[str, Any], secrets: list[str]) -> dict[str, Any]:
    return {
        name: _clean(getattr(value, name), secrets)
        for name, annotation in annotations.items()
        if not _fixed(annotation)
    }


def _fixed(annotation: Any) -> bool:
    """Tell whether a field's type lists its values, alone or in a union."""
    return get_origin(annotation) is Literal or any(_fixed(one) for one in get_args(annotation))
