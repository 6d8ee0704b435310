"""`gate doctor` as a whole, and what it says of a job's token."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "github"))
from support.fake_github import HOME, TOKEN, Answer, FakeGitHub
from support.tiny import write_gate_yml, write_tiny_task

from gate.cli.main import main
from gate.doctor.github import examine_github

PAYLOADS = Path(__file__).parents[1] / "github" / "payloads"


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub() as server:
        yield server


def doctor(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        main(["doctor", *map(str, arguments)])
    assert isinstance(left.value.code, int)
    return left.value.code, capsys.readouterr().out


@pytest.fixture
def project(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("base", "other"):
        shutil.copytree(tiny_model, tmp_path / name)
    write_tiny_task(tmp_path / "items.jsonl")
    write_gate_yml(tmp_path, "base", "other")
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_EVENT_NAME", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_machine_that_can_run_is_0_and_nothing_is_written(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(project.rglob("*"))
    code, out = doctor(capsys)
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


def test_a_problem_is_4_with_its_remedy(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    write_gate_yml(project, "base", "other", engine={"device": "cuda"})
    code, out = doctor(capsys, "--config", "gate.yml")
    assert code == 4
    assert "problem" in out
    assert "default-runtime" in out.replace("\n", " ")


def test_a_wrong_gate_yml_is_told_among_the_rest(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "gate.yml").write_text("version: 1\nbasline: {}\n")
    code, out = doctor(capsys, "--json")
    assert code == 4
    data = json.loads(out)
    assert data["exit_code"] == 4
    found = {one["what"]: one for one in data["findings"]}
    assert "did you mean baseline?" in found["gate.yml"]["text"]
    assert found["torch"]["state"] == "ok"


def test_a_task_file_that_is_missing_is_a_problem(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "items.jsonl").unlink()
    code, out = doctor(capsys)
    assert code == 4
    assert "no such task file: items.jsonl" in out


def test_without_a_gate_yml_the_machine_alone_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out = doctor(capsys)
    assert code == 0
    assert "none was named" in out


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


def told(environment: dict[str, str]) -> dict[str, Any]:
    return {one.what: one for one in examine_github(environment)}


def test_outside_of_github_there_is_nothing_to_say() -> None:
    assert told({})["GitHub"].state == "ok"


def test_without_a_token_it_says_what_will_be_missing(github: FakeGitHub, tmp_path: Path) -> None:
    found = told(job(github, tmp_path))
    assert found["token"].state == "warn"
    assert github.requests == []


@pytest.mark.parametrize("name", ["INPUT_GITHUB-TOKEN", "GITHUB_TOKEN"])
def test_a_token_that_may_write(github: FakeGitHub, tmp_path: Path, name: str) -> None:
    github.fail("GET", rf"/repos/{HOME}$", Answer(200, {"full_name": HOME}))
    for path in (r"/issues/2/comments$", r"/statuses/c{40}$"):
        github.fail("POST", path, Answer(422, {"message": 'Invalid request. "body" wasn\'t supplied.'}))
    found = told(job(github, tmp_path, **{name: TOKEN}))
    assert {what: one.state for what, one in found.items()} == {
        "event": "ok",
        "token": "ok",
        "comment": "ok",
        "status": "ok",
    }
    assert github.comments == []
    assert all(request.body == {} for request in github.requests if request.method == "POST")


def test_a_token_that_may_only_read(github: FakeGitHub, tmp_path: Path) -> None:
    denied = Answer(403, {"message": "Resource not accessible by integration"})
    github.fail("GET", rf"/repos/{HOME}$", Answer(200, {"full_name": HOME}))
    github.fail("POST", "", denied, denied)
    found = told(job(github, tmp_path, GITHUB_TOKEN=TOKEN))
    assert (found["comment"].state, found["status"].state) == ("warn", "warn")
    assert "pull-requests: write" in found["comment"].text
    assert "fork" in str(found["comment"].remedy)


def test_a_fork_is_told_from_the_event(github: FakeGitHub, tmp_path: Path) -> None:
    environment = job(github, tmp_path)
    event = json.loads(Path(environment["GITHUB_EVENT_PATH"]).read_text())
    event["pull_request"]["head"]["repo"]["full_name"] = "stranger/Hello-World"
    Path(environment["GITHUB_EVENT_PATH"]).write_text(json.dumps(event))
    found = told(environment)["event"]
    assert found.state == "warn"
    assert "from a fork" in found.text


def test_a_token_is_never_shown(github: FakeGitHub, tmp_path: Path) -> None:
    github.fail("GET", rf"/repos/{HOME}$", Answer(401, {"message": f"Bad credentials {TOKEN}"}))
    found = examine_github(job(github, tmp_path, GITHUB_TOKEN=TOKEN))
    assert TOKEN not in repr(found)
    assert {one.what: one.state for one in found}["token"] == "warn"


def test_the_engine_is_checked_against_plain_scoring_where_asked_for(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = doctor(capsys, "--engine")
    assert code == 0
    assert "scores differ from those of one choice at a time by at most" in " ".join(out.split())
    assert "the same choice in 100%" in " ".join(out.split())
    assert "one choice at a time" not in doctor(capsys)[1]
