"""Pull request and commit of a job, from GitHub's example payload of each event."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_github import HEAD, HOME, Answer, FakeGitHub, pull

from gate.errors import ConfigError
from gate.github.client import Client, GitHubError
from gate.github.context import Context, Event, MergeGroup, PullRequest, on_github, read_context
from gate.github.pulls import check_pull, commit_of, find_pull

MERGE = "9" * 40  # GITHUB_SHA of a pull request is a merge commit
ORG = "octo-org/octo-repo"
RUN_SHA = "3484a3fb816e0859fd6e1cea078d76385ff50625"
Write = Callable[..., Path]


def context(event_name: str, path: Path | None = None, **more: str) -> Context:
    return read_context(
        {
            "GITHUB_EVENT_NAME": event_name,
            "GITHUB_REPOSITORY": HOME,
            "GITHUB_SHA": MERGE,
            **({"GITHUB_EVENT_PATH": str(path)} if path else {}),
            **more,
        }
    )


@pytest.mark.parametrize("name", ["pull_request", "pull_request_target"])
def test_pull_request_event_has_pull_request_and_head(
    client: Client, event: Write, name: str, github: FakeGitHub
) -> None:
    here = context(name, event("pull_request"))
    lookup = find_pull(here, client)
    assert lookup.pull is not None
    assert (lookup.pull.number, lookup.pull.from_fork) == (2, False)
    assert commit_of(here) == HEAD != MERGE
    assert github.requests == []


def test_fork_is_detected(event: Write) -> None:
    def fork(data: Any) -> None:
        data["pull_request"]["head"]["repo"]["full_name"] = "stranger/Hello-World"

    def deleted(data: Any) -> None:
        data["pull_request"]["head"]["repo"] = None

    for change in (fork, deleted):
        pull_request = context("pull_request", event("pull_request", change)).event.pull_request
        assert pull_request is not None
        assert pull_request.from_fork


def test_workflow_run_of_the_same_repository(client: Client, github: FakeGitHub, event: Write) -> None:
    github.pulls = [
        pull(2, RUN_SHA, ORG, "changes") | {"base": {"ref": "m", "sha": "f" * 40, "repo": {"full_name": ORG}}}
    ]
    here = context("workflow_run", event("workflow_run"), GITHUB_REPOSITORY=ORG)
    lookup = find_pull(here, client)
    assert lookup.pull is not None
    assert lookup.pull.number == 2
    assert commit_of(here) == RUN_SHA
    assert github.sent("GET") == [f"/repos/{ORG}/pulls/2"]


def of_fork(data: Any) -> None:
    run = data["workflow_run"]
    run["event"], run["pull_requests"], run["head_branch"] = "pull_request", [], "fix/the thing&more"
    run["head_repository"]["full_name"] = "stranger/Hello-World"


def test_workflow_run_of_a_fork_is_found_by_branch_and_commit(client: Client, github: FakeGitHub, event: Write) -> None:
    branch = "fix/the thing&more"
    github.pulls = [
        pull(5, RUN_SHA, "stranger/another-repo", branch),
        pull(6, "a" * 40, "stranger/Hello-World", branch),
        pull(7, RUN_SHA, "stranger/Hello-World", branch),
    ]
    lookup = find_pull(context("workflow_run", event("workflow_run", of_fork)), client)
    assert lookup.pull is not None
    assert lookup.pull.number == 7
    assert github.requests[0].query["head"] == f"stranger:{branch}"


def test_workflow_run_of_a_fork_with_a_renamed_branch_is_found_by_commit(
    client: Client, github: FakeGitHub, event: Write
) -> None:
    github.pulls = [pull(7, RUN_SHA, "stranger/Hello-World", "renamed")]
    lookup = find_pull(context("workflow_run", event("workflow_run", of_fork)), client)
    assert lookup.pull is not None
    assert lookup.pull.number == 7


def test_workflow_run_of_an_outdated_commit_has_no_pull_request(
    client: Client, github: FakeGitHub, event: Write
) -> None:
    github.pulls = [pull(7, "a" * 40, "stranger/Hello-World", "fix/the thing&more")]
    lookup = find_pull(context("workflow_run", event("workflow_run", of_fork)), client)
    assert lookup.pull is None
    assert RUN_SHA[:12] in lookup.reason


def test_pull_request_of_another_repository_with_the_same_number_is_ignored(
    client: Client, github: FakeGitHub, event: Write
) -> None:
    """`workflow_run.pull_requests` also contains pull requests of upstream repositories."""
    github.pulls = [pull(2, "b" * 40)]
    assert find_pull(context("workflow_run", event("workflow_run")), client).pull is None


def test_unknown_pull_request_number_is_skipped(client: Client, github: FakeGitHub, event: Write) -> None:
    """The listed pull request is in another repository; ours is found by its commit."""
    payload = event("workflow_run")
    run = json.loads(payload.read_text(encoding="utf-8"))["workflow_run"]
    github.pulls = [pull(41, run["head_sha"], run["head_repository"]["full_name"], "elsewhere")]
    lookup = find_pull(context("workflow_run", payload), client)
    assert f"/repos/{HOME}/pulls/{run['pull_requests'][0]['number']}" in github.sent("GET")
    assert lookup.pull is not None
    assert lookup.pull.number == 41


@pytest.mark.parametrize("name", ["push", "workflow_dispatch"])
def test_push_belongs_to_the_open_pull_request_with_this_head(
    client: Client, github: FakeGitHub, event: Write, name: str
) -> None:
    github.pulls = [
        pull(3, MERGE, state="closed"),
        pull(4, MERGE),
        pull(5, "c" * 40),
    ]
    here = context(name, event(name))
    lookup = find_pull(here, client)
    assert lookup.pull is not None
    assert lookup.pull.number == 4
    assert commit_of(here) == MERGE
    assert github.sent("GET") == [f"/repos/{HOME}/commits/{MERGE}/pulls"]


def test_push_without_a_pull_request_has_a_reason(client: Client, github: FakeGitHub, event: Write) -> None:
    github.pulls = []
    lookup = find_pull(context("push", event("push")), client)
    assert lookup.pull is None
    assert "no open pull request" in lookup.reason


def test_merge_queue_branch_contains_the_pull_request_number(client: Client, github: FakeGitHub, event: Write) -> None:
    github.pulls = [pull(104)]
    here = context("merge_group", event("merge_group"))
    lookup = find_pull(here, client)
    assert lookup.pull is not None
    assert lookup.pull.number == 104
    assert commit_of(here) == "2ffea6db159f6b6c47a24e778fb9ef40cf6b1c7d"


@pytest.mark.parametrize(
    ("ref", "number"),
    [
        (f"refs/heads/gh-readonly-queue/release/1.x/pr-7-{'a' * 40}", 7),
        (f"refs/heads/gh-readonly-queue/pr-3-x/pr-12-{'a' * 40}", 12),
        ("refs/heads/gh-readonly-queue/main/pr-7", None),
        (f"refs/heads/pr-{'9' * 30}-{'a' * 40}", None),
    ],
)
def test_number_in_a_merge_queue_branch(ref: str, number: int | None) -> None:
    assert MergeGroup(head_sha="a" * 40, head_ref=ref).number == number


def test_schedule_has_no_pull_request_and_sends_no_request(client: Client, github: FakeGitHub, tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text('{"schedule": "0 3 * * *"}', encoding="utf-8")
    here = context("schedule", tmp_path / "event.json")
    assert find_pull(here, client).pull is None
    assert commit_of(here) == MERGE
    assert github.requests == []


def test_newest_of_several_pull_requests(client: Client, github: FakeGitHub, event: Write) -> None:
    github.pulls = [pull(4, MERGE), pull(9, MERGE), pull(6, MERGE)]
    lookup = find_pull(context("push", event("push")), client)
    assert lookup.pull is not None
    assert lookup.pull.number == 9


def test_defaults_and_enterprise_server() -> None:
    assert context("push", GITHUB_REPOSITORY="octocat_corp/a.b-c_d").repository == "octocat_corp/a.b-c_d"
    here = context("push", GITHUB_RUN_ID="77")
    assert (here.api_url, here.run_url) == (
        "https://api.github.com",
        f"https://github.com/{HOME}/actions/runs/77",
    )
    there = context(
        "push",
        GITHUB_API_URL="https://ghe.corp/api/v3",
        GITHUB_SERVER_URL="https://ghe.corp",
        GITHUB_RUN_ID="7",
    )
    assert (there.api_url, there.run_url) == (
        "https://ghe.corp/api/v3",
        f"https://ghe.corp/{HOME}/actions/runs/7",
    )
    assert context("push").run_url is None


@pytest.mark.parametrize("name", ["", "octo", "a/b/c", "../..", "a/..", "a b/c", "a/b?x=1", "-a/b", "a/b\n"])
def test_malformed_repository_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="No repository"):
        context("push", GITHUB_REPOSITORY=name)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("GITHUB_SHA", "main"), ("GITHUB_SHA", "A" * 40), ("GITHUB_SERVER_URL", "https://x/](javascript:1)")],
)
def test_malformed_variables_are_refused(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        context("push", **{variable: value})


def test_unreadable_event_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        context("push", tmp_path / "none.json")
    for text in ("", "[]", "{", '{"pull_request": {"number": "x"}}', '{"workflow_run": {"id": 1}}'):
        (tmp_path / "event.json").write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match="is not a GitHub event"):
            context("push", tmp_path / "event.json")


def test_pull_request_is_checked_against_the_run(event: Write) -> None:
    run = Event.model_validate_json(event("workflow_run", of_fork).read_text()).workflow_run
    good = pull(7, RUN_SHA, "stranger/Hello-World")

    def check(data: dict[str, Any], sha: str | None = None) -> None:
        check_pull(PullRequest.model_validate(data), HOME, run, sha)

    check(good)
    check(good, RUN_SHA)
    for bad, message in (
        (pull(7, "a" * 40, "stranger/Hello-World"), "the run's commit"),
        (pull(7, RUN_SHA, "other/Hello-World"), "not in the repository that the run is from"),
        (pull(7, RUN_SHA, HOME), "not in the repository that the run is from"),
        ({**good, "head": {**good["head"], "repo": None}}, "not in the repository that the run is from"),
        ({**good, "base": {**good["base"], "repo": {"full_name": "x/y"}}}, f"is not in {HOME}"),
    ):
        with pytest.raises(ConfigError, match=message):
            check(bad)
    with pytest.raises(ConfigError, match="--sha"):
        check(good, "b" * 40)


def test_on_github() -> None:
    assert on_github({"GITHUB_ACTIONS": "true"})
    assert not on_github({"CI": "true"})


def test_refused_lookup_is_a_github_error(client: Client, github: FakeGitHub, event: Write) -> None:
    github.fail("GET", "pulls", Answer(403, {"message": "Resource not accessible by integration"}))
    with pytest.raises(GitHubError, match="Resource not accessible"):
        find_pull(context("push", event("push")), client)


def test_payloads_are_complete() -> None:
    """The fixtures are GitHub's untrimmed examples."""
    for path in (Path(__file__).parent / "payloads").glob("*.json"):
        assert len(json.loads(path.read_text(encoding="utf-8"))["repository"]) > 50
