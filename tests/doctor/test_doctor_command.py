"""`gate doctor` as a command, with and without torch, and its findings about a job's token."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from support.commands import run_gate
from support.fake_github import HOME, TOKEN, Answer, FakeGitHub
from support.runner import PAYLOADS
from support.tiny import edit_gate_yml

from gate.doctor import Finding
from gate.doctor.github import examine_github


@pytest.fixture(autouse=True)
def _no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run outside of a GitHub job."""
    for name in ("GITHUB_ACTIONS", "GITHUB_EVENT_NAME", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_usable_machine_has_exit_code_0_and_nothing_is_written(project: Path) -> None:
    before = sorted(project.rglob("*"))
    code, out, _ = run_gate("doctor")
    assert code == 0
    for word in (
        "quantgate",
        "Python",
        "torch",
        "GPU",
        "memory",
        "disk",
        "store",
        "baseline",
        "candidate",
        "hub",
    ):
        assert word in out
    assert "gate.yml: 1 task(s), 1 gating." in out
    assert "\x1b[" not in out
    assert sorted(project.rglob("*")) == before


def test_problem_has_exit_code_4_and_a_remedy(project: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("a GPU is visible")
    edit_gate_yml(project, engine={"device": "cuda"})
    code, out, _ = run_gate("doctor", "--config", "gate.yml")
    assert code == 4
    assert "problem" in out
    assert "default-runtime" in out.replace("\n", " ")


def test_invalid_gate_yml_is_one_of_the_findings(project: Path) -> None:
    (project / "gate.yml").write_text("version: 1\nbasline: {}\n")
    code, out, _ = run_gate("doctor", "--json")
    assert code == 4
    data = json.loads(out)
    assert data["exit_code"] == 4
    findings = {finding["what"]: finding for finding in data["findings"]}
    assert "did you mean baseline?" in findings["gate.yml"]["text"]
    assert findings["torch"]["state"] == "ok"


def test_missing_task_file_is_a_problem(project: Path) -> None:
    (project / "items.jsonl").unlink()
    code, out, _ = run_gate("doctor")
    assert code == 4
    assert "no such task file: items.jsonl" in out


def test_machine_alone_is_examined_without_a_gate_yml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run_gate("doctor")
    assert code == 0
    assert "none given" in out


@pytest.mark.parametrize(
    ("engine", "code", "state"),
    [
        ({"kind": "transformers"}, 4, "problem"),
        ({"kind": "openai", "base_url": "http://127.0.0.1:9/v1"}, 0, "ok"),
    ],
)
def test_without_torch_it_names_the_extra_to_install(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: dict[str, str],
    code: int,
    state: str,
) -> None:
    absent = ("torch", "transformers", "safetensors")
    for name in [name for name in sys.modules if name.split(".")[0] in absent]:
        monkeypatch.delitem(sys.modules, name)
    for name in absent:
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    edit_gate_yml(project, engine=engine)
    exit_code, out, _ = run_gate("doctor", "--json")
    assert exit_code == code
    findings = {finding["what"]: finding for finding in json.loads(out)["findings"]}
    assert findings["packages"]["state"] == state
    assert "not installed: torch, transformers, safetensors." in findings["packages"]["text"]
    assert findings["packages"]["remedy"] == "pip install 'quantgate[transformers]'"
    assert out.count("not installed") == 1
    assert not {"torch", "GPU"} & findings.keys()


# --- the token ------------------------------------------------------------------------------------------------------


def job(github: FakeGitHub, tmp_path: Path, **more: str) -> dict[str, str]:
    event = tmp_path / "event.json"
    shutil.copy(PAYLOADS / "pull_request.json", event)
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(event),
        "GITHUB_REPOSITORY": HOME,
        "GITHUB_SHA": "c" * 40,
        "GITHUB_API_URL": github.url,
        **more,
    }


def findings_of(environment: dict[str, str]) -> dict[str, Finding]:
    return {finding.what: finding for finding in examine_github(environment)}


def test_outside_of_github_there_is_nothing_to_check() -> None:
    assert findings_of({})["GitHub"].state == "ok"


def test_missing_token_is_a_warning(github: FakeGitHub, tmp_path: Path) -> None:
    findings = findings_of(job(github, tmp_path))
    assert findings["token"].state == "warn"
    assert github.requests == []


@pytest.mark.parametrize("name", ["INPUT_GITHUB-TOKEN", "GITHUB_TOKEN"])
def test_token_that_may_write(github: FakeGitHub, tmp_path: Path, name: str) -> None:
    github.fail("GET", rf"/repos/{HOME}$", Answer(200, {"full_name": HOME}))
    for path in (r"/issues/2/comments$", r"/statuses/c{40}$"):
        github.fail("POST", path, Answer(422, {"message": 'Invalid request. "body" wasn\'t supplied.'}))
    findings = findings_of(job(github, tmp_path, **{name: TOKEN}))
    assert {what: finding.state for what, finding in findings.items()} == {
        "event": "ok",
        "token": "ok",
        "comment": "ok",
        "status": "ok",
    }
    assert github.comments == []
    assert all(request.body == {} for request in github.requests if request.method == "POST")


def test_read_only_token(github: FakeGitHub, tmp_path: Path) -> None:
    denied = Answer(403, {"message": "Resource not accessible by integration"})
    github.fail("GET", rf"/repos/{HOME}$", Answer(200, {"full_name": HOME}))
    github.fail("POST", "", denied, denied)
    findings = findings_of(job(github, tmp_path, GITHUB_TOKEN=TOKEN))
    assert (findings["comment"].state, findings["status"].state) == ("warn", "warn")
    assert "pull-requests: write" in findings["comment"].text
    assert "fork" in str(findings["comment"].remedy)


def test_fork_is_detected_from_the_event(github: FakeGitHub, tmp_path: Path) -> None:
    environment = job(github, tmp_path)
    event = json.loads(Path(environment["GITHUB_EVENT_PATH"]).read_text())
    event["pull_request"]["head"]["repo"]["full_name"] = "stranger/Hello-World"
    Path(environment["GITHUB_EVENT_PATH"]).write_text(json.dumps(event))
    finding = findings_of(environment)["event"]
    assert finding.state == "warn"
    assert "from a fork" in finding.text


def test_token_is_never_shown(github: FakeGitHub, tmp_path: Path) -> None:
    github.fail("GET", rf"/repos/{HOME}$", Answer(401, {"message": f"Bad credentials {TOKEN}"}))
    findings = examine_github(job(github, tmp_path, GITHUB_TOKEN=TOKEN))
    assert TOKEN not in repr(findings)
    assert {finding.what: finding.state for finding in findings}["token"] == "warn"


def test_engine_option_compares_with_plain_scoring(project: Path) -> None:
    code, out, _ = run_gate("doctor", "--engine")
    assert code == 0
    text = " ".join(out.split())
    assert "scores differ by at most" in text
    assert "from scoring one choice at a time; the same choice wins in 100%" in text
    assert "one choice at a time" not in run_gate("doctor").out
