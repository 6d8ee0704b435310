"""Shared by all HTML pages: the template environment, the bundled style and script, and hashes for the policy."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined

from gate.decision import behaviour_wording, broken_wording, wording
from gate.decision.noise_wording import control_sections
from gate.report.behaviour import behaviour_tables
from gate.report.escape import one_line
from gate.report.slices import MOST_SLICES, slice_drop, slice_level, slices_title


@cache
def asset(name: str) -> str:
    """Return a file of the bundle as text."""
    return resources.files("gate.report").joinpath("web", "bundle", name).read_text(encoding="utf-8")


def content_security_policy(style: str, script: str | None = None) -> str:
    """Return a Content-Security-Policy that allows one style and one script by their hashes, and loads nothing."""
    scripts = "" if script is None else f"script-src '{_hash_source(script)}'; "
    return (
        f"default-src 'none'; {scripts}style-src '{_hash_source(style)}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _hash_source(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def environment() -> Environment:
    """Return the environment of the templates, in which the filter `line` is `gate.report.escape.one_line`."""
    templates = Environment(
        loader=PackageLoader("gate.report", "web/templates"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["line"] = lambda text, limit=200: one_line(str(text), limit)
    templates.globals.update(
        wording.TEMPLATE_NAMES | behaviour_wording.TEMPLATE_NAMES | broken_wording.TEMPLATE_NAMES,
        control_sections=control_sections,
        behaviour_tables=behaviour_tables,
    )
    templates.globals.update(
        slices_title=slices_title, slice_level=slice_level, slice_drop=slice_drop, MOST_SLICES=MOST_SLICES
    )
    return templates
