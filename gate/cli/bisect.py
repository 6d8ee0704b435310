"""Exit codes for `git bisect run`: 0 is good, 1 to 127 but 125 are bad, 125 skips the commit, 128 and more stop."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from gate.errors import ExitCode

if TYPE_CHECKING:
    from gate.report.candidates import AnyResult

_FLAG = "--bisect"
_SKIP = 125
_STOP = 128
_CODES = {ExitCode.PASS: 0, ExitCode.FAIL: 1, ExitCode.INCONCLUSIVE: _SKIP, ExitCode.EVALUATION: _SKIP}

option = click.option(
    _FLAG,
    is_flag=True,
    help="Exit codes for `git bisect run`: 0 PASS, 1 FAIL, 125 (skip the commit) for INCONCLUSIVE and for an "
    "evaluation that cannot be completed, 128 (stop) for wrong usage or input.",
)


def exit_code(result: AnyResult, bisect: bool) -> int:
    """Return the verdict's exit code; with `bisect`, INCONCLUSIVE is not a pass, whatever the policy says."""
    return ExitCode.INCONCLUSIVE if bisect and result.verdict == "INCONCLUSIVE" else result.exit_code


def is_bisecting(arguments: Sequence[str] | None) -> bool:
    """Return whether the command line asks for these exit codes; it may be invalid otherwise."""
    return _FLAG in (sys.argv[1:] if arguments is None else arguments)


def for_git(code: int) -> int:
    """Return the exit code for git of an exit code of a command."""
    if code >= _STOP:  # interrupted or terminated
        return code
    try:
        return _CODES.get(ExitCode(code), _STOP)
    except ValueError:
        return _STOP
