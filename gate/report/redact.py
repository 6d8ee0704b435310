"""Hide the secrets of the job's environment in everything that is published, even where a model prints one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass, replace
from functools import cache
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel

T = TypeVar("T")

_SECRET = re.compile(
    r"(^|[_-])(TOKEN|SECRETS?|PASSWD|PASSPHRASE|API_?KEY|CREDENTIALS?|PAT|AUTH|DSN|CONN(ECTION)?_STR(ING)?)$"
    r"|_KEY$|PASSWORD$|(^|_)(DATABASE|DB|REDIS|MONGO|MONGODB|POSTGRES|MYSQL|AMQP|RABBITMQ)_(URL|URI)$",
    re.I,
)
_SHORTEST = 8


def secrets_of(environment: Mapping[str, str], *more: str | None) -> list[str]:
    """Return the secrets of an environment, longest first.

    Secrets are the values of variables that are named like secrets, the values in `more`, and each line of them.
    Values shorter than 8 characters are left out.
    """
    secrets = {value.strip() for key, value in environment.items() if _SECRET.search(key)}
    secrets |= {value.strip() for value in more if value}
    secrets |= {line.strip() for value in secrets for line in value.splitlines()}
    return _longest_first(secrets)


def redact(value: T, secrets: Iterable[str]) -> T:
    """Return a result, or the data of a report, with `***` in place of every secret in its texts.

    Keys and fields with a fixed set of values (verdict, role, test) stay: they never hold a secret, but a secret may
    equal one of them.
    """
    longest_first = _longest_first(secrets)
    if not longest_first:
        return value
    clean: T = _clean(value, longest_first)
    return clean


def _longest_first(secrets: Iterable[str]) -> list[str]:
    """Sort secrets, so that a secret inside a longer one does not break the longer one up; drop short ones."""
    return sorted((secret for secret in secrets if len(secret) >= _SHORTEST), key=len, reverse=True)


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
        return {key: _clean(entry, secrets) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_clean(entry, secrets) for entry in value)
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
    """Return whether a type is a Literal or contains one."""
    return get_origin(annotation) is Literal or any(_fixed(argument) for argument in get_args(annotation))
