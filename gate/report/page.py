"""What all our HTML pages share: templates that escape, the bundled style and script, and hashes for the policy."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined

from gate.report import words
from gate.report.escape import one_line


@cache
def asset(name: str) -> str:
    """Return a file of the bundle as text."""
    return resources.files("gate.report").joinpath("web", "bundle", name).read_text(encoding="utf-8")


def hash_source(text: str) -> str:
    """Return what a Content-Security-Policy calls a script or style by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def environment() -> Environment:
    """Return the templates' environment; the filter `line` gives a foreign text on one line, without controls."""
    made = Environment(
        loader=PackageLoader("gate.report", "web/templates"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["line"] = lambda text, limit=200: one_line(str(text), limit)
    made.globals.update(
        {
            name: getattr(words, name)
            for name in ("percent", "points", "p_value", "headline", "sensitivity", "spending", "early_stop")
        }
    )
    return made
