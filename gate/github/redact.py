"""Secrets of the job's environment never appear in what is published, even where a model says one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from gate.report.result import Result

_SECRET = re.compile(r"(^|[_-])(TOKEN|SECRET|PASSWD|API_?KEY|CREDENTIALS?)$|_KEY$|PASSWORD$", re.I)
_SHORTEST = 8


def secrets_of(environment: Mapping[str, str], *more: str | None) -> list[str]:
    """Return the values of variables that are named like secrets, longest first; none shorter than 8 characters."""
    found = {value.strip() for key, value in environment.items() if _SECRET.search(key)}
    found |= {value.strip() for value in more if value}
    return sorted((value for value in found if len(value) >= _SHORTEST), key=len, reverse=True)


def redact(result: Result, secrets: Iterable[str]) -> Result:
    """Return the result with `***` for every secret in its texts.

    Keys stay, and so do fields with fixed values (verdict, role, test and the like): they hold words of ours, one of
    which may be somebody's password.
    """
    secrets = sorted((secret for secret in secrets if len(secret) >= _SHORTEST), key=len, reverse=True)
    clean = _clean(result, secrets) if secrets else result
    assert isinstance(clean, Result)  # noqa: S101 - for the type checker
    return clean


def _clean(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "***")
        return value
    if isinstance(value, BaseModel):
        fields = {
            name: _clean(getattr(value, name), secrets)
            for name, field in type(value).model_fields.items()
            if not _fixed(field.annotation)
        }
        return value.model_copy(update=fields)
    if isinstance(value, dict):
        return {key: _clean(one, secrets) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_clean(one, secrets) for one in value)
    return value


def _fixed(annotation: Any) -> bool:
    """Tell whether a field's type lists its values, alone or in a union."""
    return get_origin(annotation) is Literal or any(_fixed(one) for one in get_args(annotation))
