"""The scripts of the reusable workflow's job, as the runner would pass them to bash."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import yaml

from support.runner import ROOT

SHELL = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c"]
"""How the runner starts `shell: bash`; it passes a file instead of a text."""
IS_FORK = "github.event_name == 'pull_request' && github.event.pull_request.head.repo.full_name != github.repository"
STORE_KEY = "github.event_name != 'pull_request' && secrets.GATE_STORE_KEY || ''"
TORCH_INDEX = "!inputs.gpu && 'https://download.pytorch.org/whl/cpu' || ''"
"""Expressions in the environment of the steps."""
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}", re.DOTALL)


@dataclass(frozen=True)
class ScriptStep:
    """A step with `run`."""

    name: str
    id: str | None
    script: str
    environment: dict[str, str]


def workflow() -> dict[str, object]:
    """Return the reusable workflow; every scalar is a text."""
    text = (ROOT / ".github" / "workflows" / "gate.yml").read_text(encoding="utf-8")
    data: dict[str, object] = yaml.load(text, yaml.BaseLoader)
    return data


def input_values(**given: str) -> dict[str, str]:
    """Return the value of each expression `inputs.NAME`: the default, or what the caller gives."""
    inputs = workflow()["on"]["workflow_call"]["inputs"]  # type: ignore[index]
    values = {name: entry["default"] for name, entry in inputs.items()}
    changed = {name.replace("_", "-"): text for name, text in given.items()}
    assert set(changed) <= set(values)
    return {f"inputs.{name}": text for name, text in (values | changed).items()}


def script_steps(values: Mapping[str, str]) -> Iterator[ScriptStep]:
    """Yield the steps with `run`, in order; `values` are those of the expressions in their environment, so far.

    An expression that `values` lacks is a KeyError. The mapping may change between two steps, as outputs do.
    """
    job = workflow()["jobs"]["gate"]  # type: ignore[index]
    for step in job["steps"]:
        if "run" in step:
            variables = {**job["env"], **step.get("env", {})}
            environment = {name: _resolved(text, values) for name, text in variables.items()}
            yield ScriptStep(step["name"], step.get("id"), step["run"], environment)


def _resolved(text: str, values: Mapping[str, str]) -> str:
    return _EXPRESSION.sub(lambda match: values[" ".join(match[1].split())], text)
