"""Both actions, the reusable workflow, the flags and the documentation have the same inputs and outputs."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import yaml

from gate.cli.action import command
from gate.github.given import variables_of
from gate.github.inputs import UNSET, extra_of, input_fields
from gate.github.outputs import OUTPUTS

ROOT = Path(__file__).resolve().parents[2]
OWN_OF_BARE = {"python", "extras", "packages"}
OWN_OF_WORKFLOW = {
    *("runner", "fork-runner", "gpu", "image", "container-options", "volumes", "lfs", "cache", "artifact"),
    "timeout-minutes",
}


@pytest.fixture(scope="module")
def action_files() -> ModuleType:
    """The script that writes the generated parts."""
    spec = importlib.util.spec_from_file_location("action_files", ROOT / "scripts" / "action_files.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(path: str) -> dict[str, Any]:
    """Return a YAML file; `on` is not read as a boolean."""
    data: dict[str, Any] = yaml.load((ROOT / path).read_text(encoding="utf-8"), yaml.BaseLoader)
    return data


@pytest.mark.parametrize("path", ["action.yml", "bare/action.yml", ".github/workflows/gate.yml", "docs/action.md"])
def test_the_generated_parts_are_up_to_date(action_files: ModuleType, path: str) -> None:
    """Otherwise run `python scripts/action_files.py`."""
    text = (ROOT / path).read_text(encoding="utf-8")
    assert action_files.written(path, text) == text
    assert path in action_files.FILES


def test_all_ways_to_run_the_gate_have_the_same_inputs() -> None:
    names = list(input_fields())
    docker, bare = load("action.yml")["inputs"], load("bare/action.yml")["inputs"]
    workflow = load(".github/workflows/gate.yml")["on"]["workflow_call"]["inputs"]
    assert list(docker) == names
    assert [name for name in bare if name not in OWN_OF_BARE] == names
    assert set(bare) - set(names) == OWN_OF_BARE
    assert [name for name in workflow if name not in OWN_OF_WORKFLOW] == names[:-1]
    assert set(workflow) - set(names) == OWN_OF_WORKFLOW
    assert names[-1] == "github-token"  # a called workflow has the token of its caller
    options = [option for option in command.get_params(click.Context(command)) if isinstance(option, click.Option)]
    assert [option.opts for option in options[:-1]] == [[f"--{name}"] for name in names]  # the last is --help


def test_all_ways_to_run_the_gate_have_the_same_defaults() -> None:
    docker, bare = load("action.yml")["inputs"], load("bare/action.yml")["inputs"]
    workflow = load(".github/workflows/gate.yml")["on"]["workflow_call"]["inputs"]
    for name, field in input_fields().items():
        default = docker[name]["default"]
        assert bare[name]["default"] == default
        assert name == "github-token" or workflow[name]["default"] == default
        if name == "github-token":
            assert default == "${{ github.token }}"
        elif extra_of(field, "empty"):
            assert default == ""
        elif field.default is None:
            assert default == UNSET
        else:
            assert default == str(field.default).replace("True", "true").replace("False", "false")


def test_all_ways_to_run_the_gate_have_the_same_outputs() -> None:
    workflow = load(".github/workflows/gate.yml")
    assert list(load("action.yml")["outputs"]) == list(OUTPUTS)
    bare = {name: entry["value"] for name, entry in load("bare/action.yml")["outputs"].items()}
    assert bare == {name: f"${{{{ steps.gate.outputs.{name} }}}}" for name in OUTPUTS}
    assert workflow["jobs"]["gate"]["outputs"] == bare
    called = {name: entry["value"] for name, entry in workflow["on"]["workflow_call"]["outputs"].items()}
    assert called == {name: f"${{{{ jobs.gate.outputs.{name} }}}}" for name in OUTPUTS}


@pytest.mark.parametrize("path", ["bare/action.yml", ".github/workflows/gate.yml"])
def test_every_input_reaches_the_step_that_runs_the_gate(path: str) -> None:
    data = load(path)
    steps = data["runs"]["steps"] if "runs" in data else data["jobs"]["gate"]["steps"]
    (step,) = [step for step in steps if step.get("id") == "gate"]
    for name in input_fields():
        value = step["env"][variables_of(name)[1]]
        assert value in (f"${{{{ inputs.{name} }}}}", "${{ github.token }}")
    assert "github.token" in step["env"]["INPUT_GITHUB_TOKEN"] or path.startswith("bare")


def test_scripts_contain_no_expressions() -> None:
    """An expression in a script would be code of whoever sets the value."""
    for path in ("bare/action.yml", ".github/workflows/gate.yml"):
        data = load(path)
        steps = data["runs"]["steps"] if "runs" in data else data["jobs"]["gate"]["steps"]
        assert not [step["run"] for step in steps if "${{" in step.get("run", "")]


def test_every_input_of_the_workflow_itself_is_documented() -> None:
    text = (ROOT / "docs/action.md").read_text(encoding="utf-8")
    assert {name for name in OWN_OF_WORKFLOW if f"| `{name}` |" not in text} == set()


def test_the_marketplace_accepts_the_description() -> None:
    assert len(load("action.yml")["description"]) <= 125


def snippet(text: str, start: str) -> str:
    """Return the code block that begins with a line."""
    (found,) = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if block.startswith(start)]
    return str(found)


def test_the_readme_shows_a_workflow_of_at_most_10_lines() -> None:
    text = snippet((ROOT / "README.md").read_text(encoding="utf-8"), "# .github/workflows/model-quality.yml")
    assert len(text.splitlines()) <= 10
    workflow = yaml.load(text, yaml.BaseLoader)
    assert "pull_request" in workflow["on"]
    (job,) = workflow["jobs"].values()
    assert job["uses"] == "quantgate/quantgate/.github/workflows/gate.yml@v1"
    known = load(".github/workflows/gate.yml")["on"]["workflow_call"]["inputs"]
    assert set(job.get("with", {})) <= set(known)
    granted = workflow["permissions"]
    assert granted["contents"] == "read"
    assert granted["pull-requests"] == "write"


def test_the_release_pins_what_the_workflow_contains(tmp_path: Path) -> None:
    """The release replaces these texts by digests and the commit; otherwise a tag could move under a pinned workflow."""
    for name in ("action.yml", ".github/workflows/gate.yml", "scripts/pin-release.sh"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    cuda, cpu, commit = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}", "c" * 40
    script = ["bash", "scripts/pin-release.sh", "ghcr.io/quantgate/quantgate", cuda, cpu, commit]
    subprocess.run(script, cwd=tmp_path, check=True)
    text = (tmp_path / ".github/workflows/gate.yml").read_text(encoding="utf-8")
    assert text.count(f"ghcr.io/quantgate/quantgate@{cpu}") == 2
    assert text.count(f"'ghcr.io/quantgate/quantgate@{cuda}'") == 1
    assert text.count(f"github.com/quantgate/quantgate@{commit}") == 1
    assert f"image: docker://ghcr.io/quantgate/quantgate@{cuda}\n" in (tmp_path / "action.yml").read_text()
    unknown = text.replace(f"quantgate@{commit}", "quantgate@v1")
    (tmp_path / ".github/workflows/gate.yml").write_text(unknown, encoding="utf-8")
    assert subprocess.run(script, cwd=tmp_path, check=False, capture_output=True).returncode != 0
