"""The action's outputs: what the steps after it may use."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from gate.decision import Decision
from gate.errors import ExitCode

NAMES = ("verdict", "p-value", "exit-code", "result-path", "report-path", "comment-url")
"""Every output, in the order of action.yml."""
NO_VERDICT = "ERROR"
"""Output `verdict` where there is none: `if: steps.gate.outputs.verdict == 'PASS'` is then false, as it must be."""


def verdict_outputs(decision: Decision, result_path: Path | None, report_path: Path | None) -> dict[str, str]:
    """Return the outputs of a run with a verdict; paths are those that the next steps see."""
    return {
        "verdict": decision.verdict,
        "p-value": repr(decision.p_value),
        "exit-code": str(int(decision.exit_code)),
        "result-path": "" if result_path is None else str(result_path),
        "report-path": "" if report_path is None else str(report_path),
    }


def error_outputs(code: ExitCode) -> dict[str, str]:
    """Return the outputs of a run without a verdict."""
    return {
        "verdict": NO_VERDICT,
        "p-value": "",
        "exit-code": str(int(code)),
        "result-path": "",
        "report-path": "",
    }


def write_outputs(environment: Mapping[str, str], values: Mapping[str, str]) -> None:
    """Append outputs to the runner's file (`GITHUB_OUTPUT`); without one, nothing is written.

    Each value stands between two lines that nobody can guess: whatever is in it, it sets no other output.

    Raises
    ------
    OSError
        The file cannot be written.
    ValueError
        A name that action.yml does not have.
    """
    unknown = values.keys() - set(NAMES)
    if unknown:
        raise ValueError(f"no such output: {', '.join(sorted(unknown))}")
    file = environment.get("GITHUB_OUTPUT")
    if not file:
        return
    text = ""
    for name, value in values.items():
        mark = f"end-{secrets.token_hex(16)}"
        text += f"{name}<<{mark}\n{value}\n{mark}\n"
    with Path(file).open("a", encoding="utf-8", errors="replace", newline="\n") as handle:
        handle.write(text)


def as_seen_outside(path: Path, environment: Mapping[str, str]) -> Path:
    """Return a path in the workspace relative to it: the container's own paths mean nothing to the next steps."""
    workspace = environment.get("GITHUB_WORKSPACE")
    here = path.resolve()
    if workspace and here.is_relative_to(Path(workspace).resolve()):
        return here.relative_to(Path(workspace).resolve())
    return path
