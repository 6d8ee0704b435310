"""`gate action` with tiny real models and a fake GitHub: outputs, summary, comment, exit codes, secrecy of the token."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants
from support.fake_github import HEAD, HOME, TOKEN, Answer, FakeGitHub
from support.runner import PAYLOADS, as_runner, read_outputs
from support.tiny import use_outputs_as_targets, write_tiny_project, write_tiny_task

from gate.cli.main import main
from gate.common.caches import all_caches
from gate.github.ownership import give_to_owner
from gate.store import read_sets


class Job:
    """A job with one step: a workspace, and the runner's files and variables."""

    def __init__(self, workspace: Path, runner: Path, monkeypatch: pytest.MonkeyPatch, api: str) -> None:
        self.workspace, self.output, self.summary = workspace, runner / "output", runner / "summary"
        self._patch = monkeypatch
        runner.mkdir()
        event = runner / "event.json"
        shutil.copy(PAYLOADS / "pull_request.json", event)
        self.environment = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": "pull_request",
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_REPOSITORY": HOME,
            "GITHUB_SHA": "c" * 40,
            "GITHUB_API_URL": api,
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_RUN_ID": "77",
            "GITHUB_WORKSPACE": str(workspace),
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_STEP_SUMMARY": str(self.summary),
        }

    def step(self, **inputs: str) -> int:
        for name in [name for name in os.environ if name.startswith(("GITHUB_", "INPUT_", "GH_"))]:
            self._patch.delenv(name)
        self.output.write_text("")
        self.summary.write_text("")
        for name, text in (self.environment | as_runner(**{"github_token": TOKEN} | inputs)).items():
            self._patch.setenv(name, text)
        with pytest.raises(SystemExit) as caught:
            main(["action"])
        assert isinstance(caught.value.code, int)
        return caught.value.code

    @property
    def outputs(self) -> dict[str, str]:
        return read_outputs(self.output)


@pytest.fixture
def job(
    tmp_path: Path,
    tiny_model: Path,
    other_tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    github: FakeGitHub,
) -> Job:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    write_tiny_project(workspace, tiny_model, other_tiny_model)
    monkeypatch.chdir(workspace)
    return Job(workspace, tmp_path / "runner", monkeypatch, github.url)


def make_baseline_right(job: Job, count: int = 60) -> None:
    """Write a task whose targets are the outputs of the baseline."""
    path = write_tiny_task(job.workspace / "items.jsonl", count)
    assert job.step(candidate="base", comment="false") == 0
    (stored,) = (job.workspace / ".gate" / "baseline").iterdir()
    samples = read_sets(stored)
    assert samples is not None
    use_outputs_as_targets(path, samples.tasks["animals"].table)


def test_pass_sets_outputs_and_is_published_everywhere(
    job: Job, github: FakeGitHub, capfd: pytest.CaptureFixture[str]
) -> None:
    assert job.step(candidate="base") == 0
    outputs = job.outputs
    assert outputs["verdict"] == "PASS"
    assert outputs["exit-code"] == "0"
    assert float(outputs["p-value"]) == 1.0
    assert (outputs["result-path"], outputs["report-path"]) == ("gate-result.json", "gate-report.md")
    assert json.loads((job.workspace / outputs["result-path"]).read_text())["verdict"] == "PASS"
    assert outputs["comment-url"] == github.comments[0]["html_url"]
    assert "PASS" in github.comments[0]["body"]
    assert "PASS" in job.summary.read_text()
    out, err = capfd.readouterr()
    assert TOKEN not in (out + err).replace(f"::add-mask::{TOKEN}\n", "")
    assert out.startswith(f"::add-mask::{TOKEN}\n")  # before anything else can print it
    assert out.index("::group::Evaluation") < out.index("::endgroup::") < out.index("PASS base against base")


def test_several_candidates_are_published_in_one_comment(job: Job, github: FakeGitHub) -> None:
    config = yaml.safe_load((job.workspace / "gate.yml").read_text())
    del config["candidate"]
    config["candidates"] = [{"name": "same", "model": "base"}, {"name": "broken", "model": "./missing"}]
    (job.workspace / "gate.yml").write_text(yaml.safe_dump(config))
    assert job.step() == 4
    outputs = job.outputs
    assert [(one["name"], one["verdict"]) for one in json.loads(outputs["candidates"])] == [
        ("same", outputs["verdict"]),
        ("broken", "ERROR"),
    ]
    assert outputs["exit-code"] == "4"
    (comment,) = github.comments
    assert "| broken | - | not evaluated |" in comment["body"]
    assert "<summary>same: " in comment["body"]
    assert "<summary>same: " in job.summary.read_text()
    assert job.step() == 4
    assert len(github.comments) == 1


def test_fail_has_exit_code_1(job: Job, github: FakeGitHub) -> None:
    make_baseline_right(job)
    assert job.step() == 1
    assert job.outputs["verdict"] == "FAIL"
    assert float(job.outputs["p-value"]) < 0.05
    assert "FAIL" in github.comments[0]["body"]


def test_inconclusive_blocks_with_on_inconclusive_fail(job: Job) -> None:
    assert job.step(certify="0.001") == 0
    assert job.outputs["verdict"] == "INCONCLUSIVE"
    assert job.step(certify="0.001", on_inconclusive="fail") == 3
    assert job.outputs["exit-code"] == "3"


def test_report_only_shows_the_verdict_and_passes(
    job: Job, github: FakeGitHub, capfd: pytest.CaptureFixture[str]
) -> None:
    make_baseline_right(job)
    assert job.step(report_only="true", status="check") == 0
    assert (job.outputs["verdict"], job.outputs["exit-code"]) == ("FAIL", "1")
    assert "FAIL" in job.summary.read_text()
    assert "**Report only: the job passes.**" in github.comments[0]["body"]
    (check,) = github.checks
    assert (check["status"], check["conclusion"], check["head_sha"]) == ("completed", "neutral", HEAD)
    assert check["output"]["title"].startswith("report only: FAIL")
    out = capfd.readouterr().out
    assert "::warning" in out
    assert "::error" not in out
    assert job.step(report_only="true", candidate="./nowhere") == 2  # an error is no verdict


@pytest.mark.parametrize("status", [403, 404, 422])
def test_refused_comment_does_not_change_the_verdict(
    job: Job, github: FakeGitHub, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    make_baseline_right(job)
    github.fail("POST", r"/comments$", *[Answer(status, {"message": "Resource not accessible by integration"})] * 3)
    assert job.step() == 1
    assert job.outputs["comment-url"] == ""
    assert job.outputs["verdict"] == "FAIL"
    assert "FAIL" in job.summary.read_text()
    assert "warning" in "".join(capfd.readouterr())


def test_unreachable_github_does_not_change_the_verdict(job: Job) -> None:
    job.environment["GITHUB_API_URL"] = "http://127.0.0.1:9"
    assert job.step(candidate="base") == 0
    assert job.outputs["verdict"] == "PASS"
    assert job.outputs["comment-url"] == ""


def test_unwritable_output_file_does_not_change_the_verdict(job: Job, capfd: pytest.CaptureFixture[str]) -> None:
    job.environment["GITHUB_OUTPUT"] = str(job.workspace)  # a folder
    assert job.step(candidate="base") == 0
    assert "the outputs cannot be written" in capfd.readouterr().err


def test_nothing_is_sent_with_everything_disabled(job: Job, github: FakeGitHub) -> None:
    assert job.step(candidate="base", comment="false", summary="false", annotations="false") == 0
    assert github.requests == []
    assert job.summary.read_text() == ""


@pytest.mark.parametrize(
    ("inputs", "code", "message"),
    [
        ({"candidate": ""}, 2, "input candidate: empty"),
        ({"candidate": "./nowhere"}, 2, "nowhere"),
        ({"alpha": "2"}, 2, "input alpha"),
        ({"working_directory": "nowhere"}, 2, "input working-directory: there is no folder nowhere"),
        ({"name": "two\nlines"}, 2, "name"),
        ({"device": "cuda"}, 4, "default-runtime"),
    ],
)
def test_outputs_report_a_missing_verdict(
    job: Job, inputs: dict[str, str], code: int, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    import torch

    if "device" in inputs and torch.cuda.is_available():
        pytest.skip("a GPU is visible")
    assert job.step(**inputs) == code
    assert job.outputs["verdict"] == "ERROR"
    assert job.outputs["exit-code"] == str(code)
    out, err = capfd.readouterr()
    assert message in err
    (line,) = [line for line in out.splitlines() if line.startswith("::error ")]
    assert message in line
    assert "quantgate: ERROR" in job.summary.read_text()
    assert not (job.workspace / ".gate").exists()  # nothing was evaluated


@pytest.mark.parametrize("inputs", [{"candidate": "./nowhere"}, {"alpha": "2"}])
def test_missing_verdict_replaces_an_earlier_success_of_the_commit(
    job: Job, github: FakeGitHub, inputs: dict[str, str]
) -> None:
    assert job.step(status_context="quantgate", **inputs) == 2
    status = github.statuses[-1]
    assert (status["state"], status["context"], status["sha"]) == ("error", "quantgate", HEAD)
    assert status["description"].startswith("ERROR: ")


def test_refused_status_does_not_change_the_exit_code(
    job: Job, github: FakeGitHub, capfd: pytest.CaptureFixture[str]
) -> None:
    refusal = Answer(403, {"message": "Resource not accessible by integration"})
    github.fail("POST", "statuses", refusal, refusal)  # pending, then error
    assert job.step(status_context="quantgate", candidate="./nowhere") == 2
    assert "The commit status quantgate was not set to error" in capfd.readouterr().err
    assert job.step(status_context="x" * 101, candidate="./nowhere") == 2
    assert github.statuses == []


def test_missing_gpu_is_reported_before_anything_is_read(job: Job, capfd: pytest.CaptureFixture[str]) -> None:
    """The task file is missing too, but the GPU is checked first."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("a GPU is visible")
    (job.workspace / "items.jsonl").unlink()
    assert job.step(device="cuda") == 4
    err = capfd.readouterr().err
    assert "default-runtime" in err
    assert "--gpus all" in err


def test_inputs_alone_can_define_models_and_tasks(job: Job) -> None:
    config = yaml.safe_load((job.workspace / "gate.yml").read_text())
    (job.workspace / "gate.yml").unlink()
    tasks = yaml.safe_dump(config["tasks"])
    code = job.step(baseline="base", candidate="base", tasks=tasks, device="cpu", result_path="out/r.json")
    assert code == 0
    assert job.outputs["result-path"] == "out/r.json"
    command = json.loads((job.workspace / "out/r.json").read_text())["provenance"]["reproduce"][0]
    assert command.startswith("gate action --baseline base --candidate base --tasks ")
    assert TOKEN not in command


def test_working_directory_contains_the_project(job: Job) -> None:
    project = job.workspace / "ml"
    project.mkdir()
    for name in ("base", "other", "items.jsonl", "gate.yml"):
        (job.workspace / name).rename(project / name)
    assert job.step(working_directory="ml", candidate="base") == 0
    assert job.outputs["report-path"] == "ml/gate-report.md"
    assert (project / ".gate").is_dir()


def test_nothing_is_published_outside_of_github(
    job: Job, github: FakeGitHub, capfd: pytest.CaptureFixture[str]
) -> None:
    job.environment = {}
    assert job.step(candidate="base") == 0
    assert github.requests == []
    out = capfd.readouterr().out
    assert "::" not in out  # no workflow commands, and the token is not shown
    assert TOKEN not in out


@pytest.mark.skipif(os.getuid() != 0, reason="only root can change the owner of files")
def test_written_files_belong_to_the_owner_of_the_workspace(job: Job) -> None:
    """Otherwise the next checkout on a self-hosted runner cannot delete them."""
    os.chown(job.workspace, 1001, 1001)
    assert job.step(candidate="base", report_path="reports/new/r.md") == 0
    names = ["gate-result.json", "reports", "reports/new", "reports/new/r.md", ".gate"]
    written = [job.workspace / name for name in names] + list((job.workspace / ".gate").rglob("*"))
    assert {path.stat().st_uid for path in written} == {1001}
    assert job.step(candidate="./nowhere") == 2


@pytest.mark.skipif(os.getuid() != 0, reason="only root can change the owner of files")
def test_caches_in_the_workspace_change_owner_but_nothing_outside_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, outside = tmp_path / "workspace", tmp_path / "outside"
    files = ["hf/hub/models--a/b", "hf/xet/c", "cache/quantgate/stores/s3-x/d"]
    for name in files:
        (workspace / name).parent.mkdir(parents=True)
        (workspace / name).touch()
    outside.mkdir()
    (workspace / "link").symlink_to(outside)
    os.chown(workspace, 1001, 1001)
    monkeypatch.setenv("GATE_CACHE", str(workspace / "cache"))
    for name, folder in (("HF_HOME", "hf"), ("HF_HUB_CACHE", "hf/hub"), ("HF_XET_CACHE", "hf/xet")):
        monkeypatch.setattr(constants, name, str(workspace / folder))  # read when the package is imported
    paths = [*all_caches(), workspace / "link" / "r.md", workspace / ".." / "outside"]
    give_to_owner(str(workspace), paths)
    inside = [path for path in workspace.rglob("*") if path.name != "link"]
    assert {path.stat().st_uid for path in inside} == {1001}
    assert outside.stat().st_uid == 0
