"""The scorer `json_schema`: whether a text is JSON that a schema accepts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import yaml

from gate.common.canonical import digest
from gate.common.time_limit import time_limit
from gate.errors import TaskError
from gate.tasks.scorers.base import Grade, Scorer

_SECONDS = 5.0  # for one text: a `pattern` of the schema may backtrack without end


class JsonSchema(Scorer):
    """1 if the text is JSON (RFC 8259) that the schema accepts.

    Parameters
    ----------
    schema : dict
        A JSON Schema; without `$schema`, of draft 2020-12.
    where : str
        Names the schema in messages.
    """

    def __init__(self, schema: dict[str, Any], where: str) -> None:
        try:
            import jsonschema
            from referencing import Registry
        except ImportError:
            raise TaskError(
                "scorer json_schema needs the package jsonschema.", "Run pip install 'quantgate[scorers]'."
            ) from None
        kind = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
        try:
            kind.check_schema(schema)
        except jsonschema.SchemaError as error:
            place = "/".join(map(str, error.absolute_path)) or "its root"
            raise TaskError(f"{where} is not a valid JSON Schema: {place}: {error.message}.") from None
        self._where = where
        self._validator = kind(schema, registry=Registry())  # an empty registry: `$ref` downloads nothing
        self._facets = {"json_schema": f"sha256 {digest(schema)[:16]}, jsonschema {version('jsonschema')}"}

    @property
    def facets(self) -> Mapping[str, str]:
        """A digest of the schema, and the version of the library."""
        return self._facets

    def grade(self, text: str, targets: Sequence[str], document: Mapping[str, Any]) -> Grade:
        """Parse and validate.

        Raises
        ------
        TaskError
            The schema refers to another file, or a pattern in it takes too long.
        """
        from referencing.exceptions import Unresolvable

        try:
            value = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return Grade.of(False, readable=False)
        try:
            with time_limit(_SECONDS):
                return Grade.of(self._validator.is_valid(value))
        except RecursionError:
            return Grade.of(False)
        except TimeoutError:
            raise TaskError(
                f"{self._where} takes more than {_SECONDS:g} s on a generated text.",
                "Rewrite its patterns without nested repetitions such as (a|a)* or (a+)+.",
            ) from None
        except Unresolvable as error:
            raise TaskError(
                f"{self._where} refers to {error.ref!r}, which it does not contain.",
                "Copy that definition below `$defs`; other files are not read.",
            ) from None


def read_schema(schema: str | dict[str, Any], folder: Path) -> JsonSchema:
    """Return the scorer of a schema, or of a JSON or YAML file in `folder` that holds one.

    Raises
    ------
    TaskError
        The file cannot be read or holds no valid schema.
    """
    if not isinstance(schema, str):
        return JsonSchema(schema, "the schema of scorer json_schema")
    path = folder / schema
    try:
        content = yaml.safe_load(path.read_bytes())  # JSON is YAML
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise TaskError(f"the schema {path} cannot be read: {error}", "Check `schema` of the scorer.") from None
    if not isinstance(content, dict):
        raise TaskError(f"the schema {path} is a {type(content).__name__}; expected a mapping.")
    return JsonSchema(content, f"the schema {path}")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
