"""The action's outputs, for later steps of the job."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path

from gate.config import LoadedConfig
from gate.errors import ExitCode
from gate.github.messages import VERDICT_STANDS, warn
from gate.report.candidates import AnyResult, CandidatesResult

NAMES = ("verdict", "p-value", "exit-code", "result-path", "report-path", "comment-url", "candidates")
"""Every output, in the order of action.yml."""
NO_VERDICT = "ERROR"
"""Value of `verdict` without a verdict, so that `if: steps.gate.outputs.verdict == 'PASS'` is false."""


def verdict_outputs(
    result: AnyResult,
    code: int,
    loaded: LoadedConfig,
    environment: Mapping[str, str],
    missing: Collection[str] = (),
) -> dict[str, str]:
    """Return the outputs of a run with a verdict; the path of a file that was not written (`missing`) is empty.

    With several candidates, `verdict`, `p-value` and `exit-code` are those over all of them.
    """
    files = loaded.config.report.files
    paths = {
        form: workspace_path(loaded.folder / name, environment) for form, name in files.items() if name not in missing
    }
    return {
        "verdict": result.verdict,
        "p-value": repr(result.p_value),
        "exit-code": str(int(code)),
        "result-path": str(paths.get("json", "")),
        "report-path": str(paths.get("markdown", "")),
        "candidates": json.dumps(_candidates(result)),
    }


def _candidates(result: AnyResult) -> list[dict[str, object]]:
    """Return name, verdict and p-value of each candidate; those without a verdict have ERROR and null."""
    if not isinstance(result, CandidatesResult):
        return [{"name": "candidate", "verdict": result.verdict, "p_value": result.p_value}]
    judged: list[dict[str, object]] = [
        {"name": one.name, "verdict": one.result.verdict, "p_value": one.result.p_value} for one in result.candidates
    ]
    return judged + [{"name": one.name, "verdict": NO_VERDICT, "p_value": None} for one in result.unevaluated]


def error_outputs(code: ExitCode) -> dict[str, str]:
    """Return the outputs of a run without a verdict."""
    return {
        "verdict": NO_VERDICT,
        "p-value": "",
        "exit-code": str(int(code)),
        "result-path": "",
        "report-path": "",
        "candidates": "[]",
    }


def write_outputs(environment: Mapping[str, str], values: Mapping[str, str]) -> None:
    """Append outputs to the runner's file (`GITHUB_OUTPUT`), if there is one; a failure to write is only a warning.

    Each value is enclosed by random delimiters, so no value can set another output. An output that action.yml does not
    declare is a ValueError.
    """
    unknown = values.keys() - set(NAMES)
    if unknown:
        raise ValueError(f"no such output: {', '.join(sorted(unknown))}")
    file = environment.get("GITHUB_OUTPUT")
    if not file:
        return
    text = ""
    for name, value in values.items():
        delimiter = f"end-{secrets.token_hex(16)}"
        text += f"{name}<<{delimiter}\n{value}\n{delimiter}\n"
    try:
        with Path(file).open("a", encoding="utf-8", errors="replace", newline="\n") as handle:
            handle.write(text)
    except OSError as error:
        warn(f"the outputs cannot be written ({error}). {VERDICT_STANDS}")


def workspace_path(path: Path, environment: Mapping[str, str]) -> Path:
    """Return a path in the workspace relative to it, because later steps do not know the container's own paths."""
    workspace = environment.get("GITHUB_WORKSPACE")
    if not workspace:
        return path
    root, resolved = Path(workspace).resolve(), path.resolve()
    return resolved.relative_to(root) if resolved.is_relative_to(root) else path
