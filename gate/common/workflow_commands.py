"""GitHub's workflow commands: lines of a job's log that the runner executes, such as `::error file=a.py::message`.

Text that quotes a model, a file or a server must never become such a command. See "Workflow commands for GitHub
Actions" in GitHub's documentation, and `ActionCommand` in actions/runner for the escape sequences.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def disarm(text: str) -> str:
    r"""Return text that contains no workflow command (`::` or `##[`) and no control or bidirectional character.

    Control characters are shown as in Python (`\x1b`). Line breaks are kept, but every line after the first is
    indented, so that quoted text cannot pass for a line of the log.
    """
    text = _CONTROL.sub(lambda match: ascii(match.group())[1:-1], text.replace("\r\n", "\n"))
    # every pair of colons is separated, not only those at the start of a line: a terminal may wrap at any space
    text = re.sub(":(?=:)", ": ", text).replace("##[", "# #[")
    return re.sub(r"\n(?=[^\s])", "\n  ", text)


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
