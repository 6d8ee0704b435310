"""Jinja2 templates over the fields of a document, in a sandbox: a task file must not run code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, Undefined, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gate.common.time_limit import time_limit
from gate.errors import TaskError
from gate.tasks.documents import Document

_SINGLE_EXPRESSION = re.compile(r"\s*\{\{[-+]?(?P<body>(?:(?!\{\{|\}\}).)*?)-?\}\}\s*", re.DOTALL)


_SECONDS = 5.0  # for one document; real templates take less than a millisecond


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters["fromjson"] = _from_json
    environment.globals.clear()  # neither `range(10**9)` nor `lipsum`
    return environment


def _from_json(text: str) -> Any:
    """Return the value of a CSV cell that holds JSON, such as a list."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("fromjson: the JSON is nested too deeply") from None


_ENVIRONMENT = _environment()
Evaluate = Callable[[Mapping[str, Any]], Any]


class Template:
    """A compiled template of one gate.yml key, e.g. `prompt` of a task."""

    def __init__(self, source: str, key: str) -> None:
        self.key = key
        single = _SINGLE_EXPRESSION.fullmatch(source)
        try:
            template = _ENVIRONMENT.from_string(source)
            self._render: Evaluate = lambda fields: template.render(fields)
            self._value: Evaluate = self._render
            if single:
                expression = _ENVIRONMENT.compile_expression(single["body"], undefined_to_none=False)
                self._value = lambda fields: expression(fields)
        except TemplateSyntaxError as error:
            raise TaskError(
                f"{key} is not a valid Jinja2 template: {error.message} (line {error.lineno}).",
                "Fields are written {{ like_this }}.",
            ) from None

    def text(self, document: Document) -> str:
        """Return the rendered text."""
        return str(self._guard(self._render, document))

    def value(self, document: Document) -> Any:
        """Return the value of a template that is a single `{{ expression }}`, else the rendered text."""
        value = self._guard(self._value, document)
        if isinstance(value, Undefined):
            self._lacks(str(value._undefined_name), document)
        return value

    def _guard(self, evaluate: Evaluate, document: Document) -> Any:
        try:
            with time_limit(_SECONDS):
                return evaluate(document.fields)
        except UndefinedError as error:
            self._lacks(str(error.message), document)
        except (
            TemplateError,
            TypeError,
            ValueError,
            ArithmeticError,
            LookupError,
            AttributeError,
            RecursionError,
            TimeoutError,
        ) as error:
            raise TaskError(f"{document.where}: {self.key} cannot be rendered: {error}.") from None

    def _lacks(self, reason: str, document: Document) -> None:
        raise TaskError(
            f"{document.where}: {self.key} uses a field that the document lacks ({reason}).",
            f"Check `{self.key}:`; the document has: {', '.join(map(str, document.fields)) or 'no fields'}.",
        ) from None
