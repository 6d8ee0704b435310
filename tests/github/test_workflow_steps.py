"""The reusable workflow's scripts, run one by one as the runner does: first on the default branch, then for a pull request.

The steps with `uses` (checkout, caches, artifacts) are GitHub's own. The test does what they do: it keeps the folders that
the caches name, and brings them back.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.fake_github import HOME, TOKEN, FakeGitHub
from support.runner import PAYLOADS, read_outputs
from support.tiny import write_tiny_project
from support.workflow_steps import IS_FORK, SHELL, STORE_KEY, TORCH_INDEX, input_values, script_steps

pytestmark = pytest.mark.exhaustive


class Job:
    """A job of the reusable workflow on a machine where `gate` is installed."""

    def __init__(self, folder: Path, github: FakeGitHub) -> None:
        self.workspace, self.files, self.saved = folder / "workspace", folder / "files", folder / "saved"
        for path in (self.workspace, self.files, self.saved):
            path.mkdir()
        self._api = github.url

    def run(self, event: str, *, fork: bool = False, **inputs: str) -> tuple[dict[str, str], list[int], str]:
        """Run the scripts; return the outputs of the step `gate`, the exit codes, and everything that was printed."""
        shutil.copy(PAYLOADS / f"{event}.json", self.files / "event.json")
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.files),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": event,
            "GITHUB_EVENT_PATH": str(self.files / "event.json"),
            "GITHUB_REPOSITORY": HOME,
            "GITHUB_SHA": "c" * 40,
            "GITHUB_API_URL": self._api,
            "GITHUB_RUN_ID": "77",
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_STEP_SUMMARY": str(self.files / "summary"),
            "GITHUB_OUTPUT": str(self.files / "output"),
        }
        values: dict[str, str] = {
            **input_values(**inputs),
            "github.token": TOKEN,
            "secrets.HF_TOKEN": "",
            IS_FORK: str(fork).lower(),
            STORE_KEY: "",
            TORCH_INDEX: "",
        }
        codes, shown, found = [], "", {}
        values |= {f"steps.gate.outputs.{name}": "" for name in ("report-path", "result-path")}
        for step in script_steps(values):
            if step.name == "Install the gate":
                continue
            (self.files / "output").write_text("")
            finished = subprocess.run(
                [*SHELL, step.script], cwd=self.workspace, env=environment | step.environment,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            codes.append(finished.returncode)
            shown += finished.stdout + finished.stderr
            outputs = read_outputs(self.files / "output")
            values |= {f"steps.{step.id}.outputs.{name}": text for name, text in outputs.items()}
            found |= outputs if step.id == "gate" else {}
            if step.id == "key":
                self._restore(outputs.get("value", ""))
        return found, codes, shown

    def _restore(self, key: str) -> None:
        """Do what the cache steps do before the gate runs."""
        self.key = key
        for name in (".gate", ".quantgate"):
            if (self.saved / name).exists():
                shutil.copytree(self.saved / name, self.workspace / name)

    def save(self) -> None:
        """Do what the cache steps do on the default branch: the baseline without candidates, and the result."""
        for name in ("baseline", "store.json"):
            source, target = self.workspace / ".gate" / name, self.saved / ".gate" / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        shutil.copytree(self.workspace / ".quantgate", self.saved / ".quantgate")


@pytest.fixture
def job(tmp_path: Path, github: FakeGitHub, tiny_model: Path, other_tiny_model: Path) -> Job:
    made = Job(tmp_path, github)
    write_tiny_project(made.workspace, tiny_model, other_tiny_model)
    return made


def test_a_push_and_then_a_pull_request(job: Job, github: FakeGitHub) -> None:
    (job.workspace / ".gate" / "baseline" / "planted").mkdir(parents=True)
    (job.workspace / "gate-result.json").write_text("planted")
    outputs, codes, shown = job.run("push", candidate="base")
    assert codes == [0, 0, 0, 0], shown
    assert outputs["verdict"] == "PASS"
    assert not (job.workspace / ".gate" / "baseline" / "planted").exists()
    first_key = job.key
    assert len(first_key) >= 16
    reports = {path.name for path in (job.workspace / "quantgate-reports").iterdir()}
    assert reports == {"gate-report.md", "gate-report.html", "gate-result.json"}
    assert github.comments == []
    (job.saved / ".gate").mkdir()
    job.save()
    outputs, codes, shown = job.run("pull_request", report_only="true", status="check")
    assert codes == [0, 0, 0, 0], shown
    assert job.key == first_key
    assert "from the cache" in shown
    (comment,) = github.comments
    assert "**Against the base branch.** The last result there was PASS" in comment["body"]
    assert github.checks[0]["status"] == "completed"
    assert TOKEN not in shown.replace(f"::add-mask::{TOKEN}\n", "")


def test_a_pull_request_of_a_fork_publishes_nothing_but_leaves_its_result(job: Job, github: FakeGitHub) -> None:
    outputs, codes, shown = job.run("pull_request", fork=True, candidate="base", status_context="quantgate")
    assert codes == [0, 0, 0, 0], shown
    assert outputs["verdict"] == "PASS"
    assert github.requests == []
    assert (job.workspace / "quantgate-reports" / "gate-result.json").is_file()


@pytest.mark.parametrize("inputs", [{"candidate": "./nowhere"}, {"config": "missing.yml"}, {"alpha": "2"}])
def test_an_error_is_that_of_the_step_that_runs_the_gate(job: Job, inputs: dict[str, Any], github: FakeGitHub) -> None:
    outputs, codes, shown = job.run("pull_request", **inputs)
    assert codes == [0, 0, 2, 0], shown
    assert outputs["verdict"] == "ERROR"
    assert list((job.workspace / "quantgate-reports").iterdir()) == []
