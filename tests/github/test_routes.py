"""Every route gives the same outputs, comment, summary and annotations, with the variables that each runner sets.

The paths are those of the runner's documentation and of its container hooks: a container action sees /github/workspace,
a job container and a Kubernetes pod see /__w, a machine sees its own folders. Here they are folders of the test.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support.fake_github import HEAD, HOME, TOKEN, FakeGitHub
from support.fake_gitlab import TOKEN as GITLAB_TOKEN
from support.fake_gitlab import FakeGitLab
from support.runner import PAYLOADS, ROOT, as_runner, read_outputs
from support.tiny import write_tiny_project

from gate.cli.main import main

GIVEN = {"candidate": "base", "status": "check", "name": "routes"}
"""What the user gives, by input."""


def as_composite(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Return what the composite action's step sees: an environment that a shell can pass on."""
    step = yaml.safe_load((ROOT / "bare" / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"][-1]
    return filled(step["env"], folder), []


def as_reusable_workflow(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Return what the step of the reusable workflow sees in its job container."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/gate.yml").read_text(encoding="utf-8"))
    (step,) = [step for step in workflow["jobs"]["gate"]["steps"] if step.get("id") == "gate"]
    return filled(step["env"], folder) | {"INPUT_BASE_RESULT": str(folder / ".quantgate" / "gate-result.json")}, []


def filled(variables: dict[str, str], folder: Path) -> dict[str, str]:
    """Return the variables of a step with its expressions replaced by the values of a caller."""
    defaults = as_runner(**GIVEN)
    values = {}
    for name in variables:
        if name.startswith("INPUT_"):
            known = name.replace("_", "-").replace("INPUT-", "INPUT_", 1)
            values[name] = TOKEN if "TOKEN" in name else defaults[known]
    return values


def as_docker_action(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Return what the container action sees."""
    return as_runner(**GIVEN, github_token=TOKEN), []


def as_run_step(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Return a `run` step of a job container, a Kubernetes pod or a machine, with `env: GITHUB_TOKEN`."""
    return {"GITHUB_TOKEN": TOKEN}, [part for name, text in GIVEN.items() for part in (f"--{name}", text)]


Route = Callable[[Path], tuple[dict[str, str], list[str]]]


@pytest.mark.parametrize(
    ("route", "runner"),
    [
        (as_docker_action, {"HOME": "/github/home", "RUNNER_OS": "Linux"}),
        (as_composite, {"RUNNER_TEMP": "_temp", "ACTIONS_RUNNER_DEBUG": "false"}),
        (as_reusable_workflow, {"HOME": "/github/home"}),
        (as_run_step, {"HOME": "/github/home"}),
        (
            as_run_step,
            {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "ACTIONS_RUNNER_CONTAINER_HOOKS": "/runner/k8s/index.js"},
        ),
    ],
    ids=["container action", "bare action", "reusable workflow", "job container", "Kubernetes pod"],
)
def test_outputs_and_publishing_are_those_of_every_route(
    route: Route,
    runner: dict[str, str],
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    github: FakeGitHub,
    capfd: pytest.CaptureFixture[str],
) -> None:
    workspace, files = tmp_path / "workspace", tmp_path / "files"
    for folder in (workspace, files):
        folder.mkdir()
    write_tiny_project(workspace, tiny_model, tiny_model)
    shutil.copy(PAYLOADS / "pull_request.json", files / "event.json")
    inputs, arguments = route(workspace)
    variables = {
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(files / "event.json"),
        "GITHUB_REPOSITORY": HOME,
        "GITHUB_REF": "refs/pull/2/merge",
        "GITHUB_SHA": "c" * 40,
        "GITHUB_API_URL": github.url,
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_RUN_ID": "77",
        "GITHUB_WORKSPACE": str(workspace),
        "GITHUB_OUTPUT": str(files / "output"),
        "GITHUB_STEP_SUMMARY": str(files / "summary"),
    }
    for name, text in (variables | runner | inputs).items():
        if name != "HOME":  # the models' caches of this machine
            monkeypatch.setenv(name, text)
    monkeypatch.chdir(workspace)
    with pytest.raises(SystemExit) as caught:
        main(["action", *arguments])
    out, err = capfd.readouterr()
    assert caught.value.code == 0, err
    outputs = read_outputs(files / "output")
    assert (outputs["verdict"], outputs["exit-code"], outputs["result-path"]) == ("PASS", "0", "gate-result.json")
    assert json.loads(outputs["json"])["candidates"][0]["verdict"] == "PASS"
    (comment,) = github.comments
    assert comment["body"].startswith("<!-- quantgate:routes -->")
    assert outputs["comment-url"] == comment["html_url"]
    assert "quantgate <code>routes</code>: PASS" in (files / "summary").read_text(encoding="utf-8")
    (check,) = github.checks
    assert (check["name"], check["conclusion"], check["head_sha"]) == ("routes", "success", HEAD)
    assert "::notice file=gate.yml" in out
    assert TOKEN not in (out + err).replace(f"::add-mask::{TOKEN}\n", "")


def test_gitlab_gets_its_artifacts_and_a_note(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_tiny_project(tmp_path, tiny_model, tiny_model)
    with FakeGitLab() as gitlab:
        variables = {
            "CI": "true",
            "GITLAB_CI": "true",
            "CI_API_V4_URL": gitlab.url,
            "CI_PROJECT_ID": "7",
            "CI_PROJECT_URL": "https://gitlab.com/team/models",
            "CI_PROJECT_DIR": str(tmp_path),
            "CI_MERGE_REQUEST_IID": "5",
            "CI_JOB_URL": "https://gitlab.com/team/models/-/jobs/9",
            "GITLAB_TOKEN": GITLAB_TOKEN,
        }
        for name, text in variables.items():
            monkeypatch.setenv(name, text)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as caught:
            main(["action", "--candidate", "base"])
        out, err = capfd.readouterr()
        assert caught.value.code == 0, err
        assert "quantgate: PASS" in gitlab.notes[0]["body"]
    assert "GATE_VERDICT=PASS" in (tmp_path / "gate.env").read_text().splitlines()
    assert json.loads((tmp_path / "gl-code-quality-report.json").read_text()) == []
    assert (tmp_path / "gate-junit.xml").is_file()
    assert "::" not in out  # GitLab has no workflow commands
    with pytest.raises(SystemExit):
        main(["action", "--candidate", "nowhere/x"])
    assert "GATE_VERDICT=ERROR" in (tmp_path / "gate.env").read_text().splitlines()
