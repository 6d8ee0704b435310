"""The action's outputs, for later steps of the job."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from gate.config import LoadedConfig
from gate.errors import ExitCode
from gate.github.messages import VERDICT_STANDS, warn
from gate.report.candidates import AnyResult, CandidatesResult
from gate.report.result import Result

OUTPUTS = {
    "verdict": "PASS, FAIL or INCONCLUSIVE; ERROR if the run ended without a verdict.",
    "p-value": "p-value of the deciding test, unrounded; empty without a verdict.",
    "exit-code": "0 PASS, 1 FAIL, 2 invalid input, 3 INCONCLUSIVE if the policy blocks it, 4 the evaluation could not "
    "be completed, or a report of a verdict that does not block could not be written. With report-only, the job passes "
    "with 1 and 3.",
    "result-path": "Path of the JSON result, relative to the workspace.",
    "report-path": "Path of the Markdown report, relative to the workspace.",
    "comment-url": "URL of the pull-request comment; empty if there is none.",
    "candidates": "JSON list of objects with the keys name, verdict and p_value, one per candidate.",
    "drop": "Mean drop over the items of the gating tasks (a proportion, positive if the candidate is worse).",
    "n": "Paired items of the gating tasks.",
    "flips": "Items of the gating tasks whose score changed.",
    "detectable-drop": "Smallest true drop, equal on every gating task, that the run detects with the power of "
    "decision.power (a proportion); empty if there is none.",
    "noise-floor": "Share of the items that flip between two runs of the baseline; empty where that was not measured.",
    "json": "All outputs but comment-url as one JSON object, with p_value, drop, n, flips, detectable_drop and "
    "noise_floor of each candidate.",
}
"""Every output and its description, in the order of action.yml. The numbers are empty with several candidates."""
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
    outputs = {
        "verdict": result.verdict,
        "p-value": repr(result.p_value),
        "exit-code": str(int(code)),
        "result-path": str(paths.get("json", "")),
        "report-path": str(paths.get("markdown", "")),
        "candidates": json.dumps([{key: one[key] for key in ("name", "verdict", "p_value")} for one in facts(result)]),
    }
    numbers = {} if isinstance(result, CandidatesResult) else _numbers(result)
    outputs |= {_output(key): "" if numbers.get(key) is None else repr(numbers[key]) for key in _NUMBERS}
    return outputs | {"json": _json(outputs, facts(result))}


_NUMBERS = ("drop", "n", "flips", "detectable_drop", "noise_floor")


def _output(key: str) -> str:
    return key.replace("_", "-")


def _numbers(result: Result) -> dict[str, float | None]:
    floor = None if result.control is None else result.control.floor
    return {
        "drop": result.drop,
        "n": result.items,
        "flips": sum(task.regressions + task.improvements for task in result.gating),
        "detectable_drop": result.sensitivity.detectable_drop,
        "noise_floor": None if floor is None else floor.flip_rate,
    }


def facts(result: AnyResult) -> list[dict[str, JsonValue]]:
    """Return the facts about each candidate; those without a verdict have ERROR and null."""
    if not isinstance(result, CandidatesResult):
        return [_facts("candidate", result)]
    judged = [_facts(one.name, one.result) for one in result.candidates]
    nothing = dict.fromkeys(("p_value", *_NUMBERS))
    return judged + [{"name": one.name, "verdict": NO_VERDICT, **nothing} for one in result.unevaluated]


def _facts(name: str, result: Result) -> dict[str, JsonValue]:
    return {"name": name, "verdict": result.verdict, "p_value": result.p_value, **_numbers(result)}


def _json(outputs: Mapping[str, str], candidates: Sequence[Mapping[str, JsonValue]]) -> str:
    """Return the outputs as one JSON object, with numbers as numbers and null for those that are empty."""
    texts = ("verdict", "result-path", "report-path")
    values: dict[str, object] = {name.replace("-", "_"): outputs[name] for name in texts}
    for name in ("p-value", "exit-code", *map(_output, _NUMBERS)):
        values[name.replace("-", "_")] = json.loads(outputs[name]) if outputs[name] else None
    return json.dumps({**values, "candidates": list(candidates)}, allow_nan=False)


def error_outputs(code: ExitCode) -> dict[str, str]:
    """Return the outputs of a run without a verdict."""
    outputs = dict.fromkeys(OUTPUTS, "")
    del outputs["comment-url"]
    outputs |= {"verdict": NO_VERDICT, "exit-code": str(int(code)), "candidates": "[]"}
    return outputs | {"json": _json(outputs, [])}


def write_outputs(environment: Mapping[str, str], values: Mapping[str, str]) -> None:
    """Append outputs to the runner's file (`GITHUB_OUTPUT`), if there is one; a failure to write is only a warning.

    Each value is enclosed by random delimiters, so no value can set another output. An output that action.yml does not
    declare is a ValueError.
    """
    unknown = values.keys() - set(OUTPUTS)
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
