"""A user's own template of the comment: Jinja2 in a sandbox, with a limit on size and time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from gate.common.time_limit import time_limit
from gate.decision import wording
from gate.errors import ConfigError, GateError, first_line
from gate.github.outputs import facts
from gate.report.candidates import AnyResult, any_to_json
from gate.report.escape import log_line, markdown

if TYPE_CHECKING:
    from jinja2 import Template

_TEMPLATE_LIMIT = 64 * 1024  # bytes
_SECONDS = 5.0


class TemplateFailedError(GateError):
    """The template cannot be rendered; the verdict is unaffected."""


def _shown(value: Any) -> Any:
    """Return a value as Markdown that shows exactly its characters: a model's answer must not become markup."""
    if isinstance(value, Markup) or value is None or isinstance(value, bool | int | float):
        return "" if value is None else value
    return markdown(str(value), 2000)


def read_template(path: Path) -> Template:
    """Return the template in a file.

    Raises
    ------
    ConfigError
        The file is missing, too large, not UTF-8 or not a template.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_TEMPLATE_LIMIT + 1)
    except OSError as error:
        raise ConfigError(
            f"input comment-template: {path} cannot be read: {error.strerror}.",
            "The path starts from working-directory.",
        ) from None
    if len(data) > _TEMPLATE_LIMIT:
        raise ConfigError(f"input comment-template: {path} is larger than {_TEMPLATE_LIMIT // 1024} KiB.")
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, finalize=_shown, keep_trailing_newline=True)
    environment.filters.update(points=wording.points, percent=wording.percent, p_value=wording.p_value)
    try:
        return environment.from_string(data.decode("utf-8"))
    except (TemplateError, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", None)
        where = "" if line is None else f", line {line}"
        raise ConfigError(f"input comment-template: {path}{where}: {log_line(first_line(error))}.") from None


def render_template(template: Template, result: AnyResult, limit: int, **texts: str | None) -> str:
    """Return the text of a comment, at most `limit` bytes.

    Parameters
    ----------
    result : Result or CandidatesResult
        The template sees the data of result.json as `result`, and `facts` of each candidate as `candidates`.
    **texts
        Further names: `report` and `change` (Markdown, inserted unchanged), `name` and `run_url`.

    Raises
    ------
    TemplateFailedError
        The template fails, takes too long, or its text is longer than the limit.
    """
    safe = {name: Markup(text or "") for name, text in texts.items()}  # noqa: S704 - our own Markdown
    parts: list[str] = []
    size = 0
    try:
        with time_limit(_SECONDS):
            for part in template.generate(result=json.loads(any_to_json(result)), candidates=facts(result), **safe):
                size += len(part.encode("utf-8", "replace"))
                if size > limit:
                    raise TemplateFailedError(f"the text of comment-template is longer than {limit:,} bytes.")
                parts.append(part)
    except GateError:
        raise
    except Exception as error:  # a template may raise anything
        raise TemplateFailedError(f"comment-template: {log_line(first_line(error) or type(error).__name__)}.") from None
    return "".join(parts)
