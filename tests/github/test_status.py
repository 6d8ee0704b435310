"""Commit statuses and check runs: pending at the start, replaced at the end, whatever the end is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_github import HEAD, HOME, TOKEN, FakeGitHub
from support.results import example

from gate.errors import ExitCode
from gate.github.client import Client
from gate.github.inputs import Inputs
from gate.github.no_verdict import report_no_verdict
from gate.github.publish import publish, start
from gate.github.status import Mark, post_mark


@pytest.fixture
def environment(github: FakeGitHub, event: Callable[..., Path]) -> dict[str, str]:
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(event("pull_request")),
        "GITHUB_REPOSITORY": HOME,
        "GITHUB_API_URL": github.url,
        "GITHUB_RUN_ID": "77",
    }


def inputs(**given: Any) -> Inputs:
    common = {"comment": "never", "summary": False, "annotations": False, "github-token": TOKEN}
    return Inputs.model_validate(common | {key.replace("_", "-"): value for key, value in given.items()})


def test_a_status_is_pending_until_the_verdict(environment: dict[str, str], github: FakeGitHub) -> None:
    given = inputs(status_context="quality")
    start(given, environment)
    publish(example("FAIL"), given, None, {}, environment)
    assert [(one["state"], one["context"], one["sha"]) for one in github.statuses] == [
        ("pending", "quality", HEAD),
        ("failure", "quality", HEAD),
    ]


@pytest.mark.parametrize(
    ("verdict", "conclusion"), [("PASS", "success"), ("FAIL", "failure"), ("INCONCLUSIVE", "failure")]
)
def test_a_check_run_is_completed_with_the_report(
    environment: dict[str, str], github: FakeGitHub, verdict: str, conclusion: str
) -> None:
    given = inputs(status="check")
    start(given, environment)
    assert (github.checks[0]["status"], github.checks[0]["name"]) == ("in_progress", "quantgate")
    publish(example(verdict), given, None, {}, environment)
    (check,) = github.checks
    assert (check["status"], check["conclusion"], check["head_sha"]) == ("completed", conclusion, HEAD)
    assert check["output"]["summary"].splitlines()[0].endswith(f"quantgate: {verdict}")
    assert check["details_url"].endswith("/actions/runs/77")
    assert github.statuses == []


def test_an_inconclusive_verdict_that_does_not_block_is_neutral(
    environment: dict[str, str], github: FakeGitHub
) -> None:
    result = example("INCONCLUSIVE").model_copy(update={"exit_code": 0})
    publish(result, inputs(status="check"), None, {}, environment)
    publish(result, inputs(status="status"), None, {}, environment)
    assert github.checks[0]["conclusion"] == "neutral"
    assert github.statuses[0]["state"] == "success"


@pytest.mark.parametrize("kind", ["check", "status"])
def test_a_cancelled_run_replaces_the_success_of_an_earlier_run(
    environment: dict[str, str], github: FakeGitHub, kind: str
) -> None:
    publish(example("PASS"), inputs(status=kind), None, {}, environment)
    environment["GITHUB_RUN_ID"] = "78"
    start(inputs(status=kind), environment)
    variables = environment | {"INPUT_STATUS": kind, "INPUT_GITHUB-TOKEN": TOKEN}
    report_no_verdict(variables, ExitCode.TERMINATED, "The job was cancelled.")
    if kind == "status":
        assert [one["state"] for one in github.statuses] == ["success", "pending", "error"]
    else:
        assert [one["conclusion"] for one in github.checks] == ["success", "failure"]


def test_the_check_run_of_the_job_is_left_alone(environment: dict[str, str], github: FakeGitHub) -> None:
    """GitHub shows a job as a check run of its name, which the same token may change."""
    job = {"id": 1, "name": "quantgate", "head_sha": HEAD, "status": "in_progress", "external_id": "a-guid"}
    github.checks.append(dict(job))
    with Client(github.url, TOKEN) as client:
        post_mark(client, HOME, HEAD, Mark("check", "quantgate", "77"), "success", "PASS")
    assert github.checks[0] == job
    assert github.checks[1]["conclusion"] == "success"


def test_a_refused_start_is_silent(environment: dict[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    """The end of the run reports the problem."""
    environment["GITHUB_API_URL"] = "http://127.0.0.1:9"
    start(inputs(status="check"), environment)
    start(inputs(status="check"), {"GITHUB_ACTIONS": "true"})
    assert capfd.readouterr().out == ""
