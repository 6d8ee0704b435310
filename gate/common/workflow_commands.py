"""GitHub's workflow commands: lines of a job's log that the runner executes, such as `::error file=a.py::message`.

Text that quotes a model, a file or a server must never become such a command. See "Workflow commands for GitHub
Actions" in GitHub's documentation, and `ActionCommand` in actions/runner for the escape sequences.
"""

from __future__ import annotations

import re
from collections.abc import Mapping


def disarm(text: str) -> str:
    """Return text that contains no workflow command (`::` or `##[`). Line breaks are kept."""
    # every pair of colons is separated, not only those at the start of a line: a terminal may wrap at any space
    return re.sub(":(?=:)", ": ", text).replace("##[", "# #[")


def workflow_command(name: str, message: str = "", properties: Mapping[str, str] | None = None) -> str:
    """Return the line that makes the runner execute one command, with its values escaped.

    Parameters
    ----------
    name : str
        The command: error, warning, notice, group, endgroup, add-mask.
    message : str
    properties : mapping of str to str, optional
        For example file, line and title of an annotation.
    """
    pairs = ",".join(f"{key}={_escape_property(value)}" for key, value in (properties or {}).items())
    return f"::{name}{f' {pairs}' if pairs else ''}::{_escape(message)}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")
