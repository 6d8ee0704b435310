"""Publishing a verdict: summary, annotations, comment and status. Refusals by GitHub are warnings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_github import HEAD, HOME, TOKEN, Answer, FakeGitHub, pull
from support.results import example

from gate.errors import ConfigError
from gate.github.comment import marker
from gate.github.inputs import Inputs
from gate.github.publish import Published, publish

Write = Callable[..., Path]
MARK = marker("nightly")
DENIED = {"message": "Resource not accessible by integration"}


@pytest.fixture
def environment(github: FakeGitHub, event: Write, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "summary.md").touch()
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(event("pull_request")),
        "GITHUB_REPOSITORY": HOME,
        "GITHUB_SHA": "9" * 40,
        "GITHUB_API_URL": github.url,
        "GITHUB_RUN_ID": "77",
        "GITHUB_WORKSPACE": str(tmp_path),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }


@pytest.fixture
def show(environment: dict[str, str], tmp_path: Path) -> Callable[..., Published]:
    def run(verdict: str = "FAIL", **options: Any) -> Published:
        job = options.pop("environment", environment)
        given = {"name": "nightly", "status_context": "quantgate / nightly", "github_token": TOKEN, **options}
        values = {key.replace("_", "-"): value for key, value in given.items()}
        lines = {"addition": 12, "multiplication": 20}
        return publish(example(verdict), Inputs(**values), tmp_path / "ci" / "gate.yml", lines, job)

    return run


def test_everything_is_published(
    show: Callable[..., Published], github: FakeGitHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = show()
    assert published == Published(github.comments[0]["html_url"])
    assert github.comments[0]["body"].startswith(f"{MARK}\n## ❌ quantgate <code>nightly</code>: FAIL\n")
    run = f"https://github.com/{HOME}/actions/runs/77"
    assert f"[Full report and log]({run})" in github.comments[0]["body"]
    assert github.statuses == [
        {
            "sha": HEAD,
            "state": "failure",
            "context": "quantgate / nightly",
            "description": f"FAIL: 3 tasks, 820 paired items, p = {example('FAIL').p_value:.3g}, 1 worse on its own",
            "target_url": run,
        }
    ]
    assert "quantgate <code>nightly</code>: FAIL" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("::error file=ci/gate.yml,line=1,title=quantgate%3A FAIL::The candidate is worse than")
    assert second.startswith(
        "::error file=ci/gate.yml,line=12,title=quantgate%3A addition is worse::85.0%25 to 72.5%25, drop +12.50"
    )


def test_second_run_updates_the_comment(show: Callable[..., Published], github: FakeGitHub) -> None:
    assert show("FAIL").comment_url == show("PASS").comment_url
    assert len(github.comments) == 1
    assert "PASS" in github.comments[0]["body"]
    assert [status["state"] for status in github.statuses] == ["failure", "success"]


@pytest.mark.parametrize(("verdict", "state"), [("PASS", "success"), ("FAIL", "failure"), ("INCONCLUSIVE", "failure")])
def test_state_of_each_verdict(show: Callable[..., Published], github: FakeGitHub, verdict: str, state: str) -> None:
    show(verdict)
    assert github.statuses[0]["state"] == state


def test_read_only_token_of_a_fork_is_a_warning_with_a_remedy(
    show: Callable[..., Published],
    github: FakeGitHub,
    environment: dict[str, str],
    event: Write,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fork(data: Any) -> None:
        data["pull_request"]["head"]["repo"]["full_name"] = "stranger/Hello-World"

    environment["GITHUB_EVENT_PATH"] = str(event("pull_request", fork))
    github.fail("POST", ".", Answer(403, DENIED), Answer(403, DENIED))
    published = show()
    assert published.comment_url is None
    assert len(published.warnings) == 2
    for text in published.warnings:
        assert "workflow_run" in text
        assert "gate comment" in text
        assert "The verdict is unaffected." in text
    assert "quantgate" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out.count("::warning title=quantgate::") == 2


@pytest.mark.parametrize("status", [401, 403, 404])
def test_missing_permissions_are_named(show: Callable[..., Published], github: FakeGitHub, status: int) -> None:
    github.fail("POST", ".", Answer(status, DENIED), Answer(status, DENIED))
    published = show()
    assert "permissions: statuses: write" in published.warnings[0]
    assert "permissions: pull-requests: write" in published.warnings[1]


@pytest.mark.parametrize("status", [409, 410, 422, 500])
def test_any_other_refusal_is_a_warning(show: Callable[..., Published], github: FakeGitHub, status: int) -> None:
    github.fail("GET", "issues", *[Answer(status, {"message": "no"})] * 9)
    published = show()
    assert published.comment_url is None
    assert [f"HTTP {status}" in text for text in published.warnings] == [True]
    assert len(github.statuses) == 1


def test_rate_limit_is_not_a_missing_permission(show: Callable[..., Published], github: FakeGitHub) -> None:
    end = {"retry-after": "3600"}
    github.fail("GET", "issues", Answer(403, {"message": "You have exceeded a secondary rate limit"}, end))
    assert "rate limit" in show().warnings[0]
    assert not any("permissions" in text for text in show().warnings)


def test_missing_pull_request_is_a_notice(
    show: Callable[..., Published], github: FakeGitHub, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "event.json").write_text('{"schedule": "0 3 * * *"}', encoding="utf-8")
    environment |= {"GITHUB_EVENT_NAME": "schedule", "GITHUB_EVENT_PATH": str(tmp_path / "event.json")}
    published = show()
    assert published == Published(None, (), ("No pull-request comment: a scheduled run belongs to no pull request.",))
    assert github.statuses[0]["sha"] == "9" * 40


def test_merge_queue_gets_its_status_without_access_to_the_pull_request(
    show: Callable[..., Published], github: FakeGitHub, environment: dict[str, str], event: Write
) -> None:
    github.pulls = [pull(104)]
    environment |= {"GITHUB_EVENT_NAME": "merge_group", "GITHUB_EVENT_PATH": str(event("merge_group"))}
    github.fail("GET", "pulls/104", Answer(403, DENIED))
    assert len(show("PASS").warnings) == 1
    assert github.statuses[0]["sha"] == "2ffea6db159f6b6c47a24e778fb9ef40cf6b1c7d"
    assert show("PASS").comment_url is not None


def test_nothing_is_sent_without_a_token(show: Callable[..., Published], github: FakeGitHub) -> None:
    for token in (None, ""):
        assert "no GitHub token" in show(github_token=token).warnings[0]
    assert github.requests == []


def test_malformed_token_address_or_event_is_a_warning(
    show: Callable[..., Published], environment: dict[str, str], tmp_path: Path
) -> None:
    assert "spaces, line breaks" in show(github_token="ghs_secret\nX: y").warnings[0]
    assert "ghs_secret" not in str(show(github_token="ghs_secret\nX: y"))
    environment["GITHUB_API_URL"] = "nonsense"
    assert "GITHUB_API_URL" in show().warnings[0]
    summary = tmp_path / "summary.md"
    for event in ("[", '{"pull_request": {}}'):
        (tmp_path / "event.json").write_text(event, encoding="utf-8")
        summary.write_text("")
        assert "Not written: the comment and the commit status. The event file" in show().warnings[0]
        assert "quantgate" in summary.read_text()


def test_nothing_is_published_outside_of_github(
    show: Callable[..., Published], github: FakeGitHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(environment={"CI": "true"}).notices
    assert github.requests == []
    assert capsys.readouterr().out == ""


def test_disabled_parts_are_not_published(
    show: Callable[..., Published], github: FakeGitHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(comment="never", status_context=None, summary=False, annotations=False) == Published()
    assert github.requests == []
    assert (tmp_path / "summary.md").read_text() == ""
    assert capsys.readouterr().out == ""


def test_unwritable_summary_is_a_warning(
    show: Callable[..., Published], environment: dict[str, str], tmp_path: Path
) -> None:
    environment["GITHUB_STEP_SUMMARY"] = str(tmp_path)
    assert "job summary" in show().warnings[0]
    del environment["GITHUB_STEP_SUMMARY"]
    assert "GITHUB_STEP_SUMMARY" in show().warnings[0]


@pytest.mark.parametrize(("option", "value"), [("name", "a-->"), ("status_context", " "), ("status_context", "a\nb")])
def test_invalid_options_are_errors_before_anything_is_sent(
    show: Callable[..., Published], github: FakeGitHub, option: str, value: str
) -> None:
    with pytest.raises(ConfigError):
        show(**{option: value})
    assert github.requests == []


def test_secrets_of_the_environment_are_never_published(
    show: Callable[..., Published],
    github: FakeGitHub,
    environment: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even if a model outputs one, or a command line contains it."""
    environment["HF_TOKEN"] = "hf_" + "s3cr3t" * 5
    flip = example("FAIL").flips[0].model_copy(update={"candidate": f"my token: {environment['HF_TOKEN']}"})
    provenance = {"reproduce": [f"GITHUB_TOKEN={TOKEN} gate run"]}
    result = example("FAIL").model_copy(
        update={"flips": [flip], "provenance": provenance, "reasons": [f"because {TOKEN}"]}
    )
    monkeypatch.setattr("test_publish.example", lambda verdict: result)
    show()
    printed = capsys.readouterr()
    summary = (tmp_path / "summary.md").read_text()
    everything = f"{github.comments}{github.statuses}{summary}{printed}"
    plain = everything.replace("&#95;", "_")
    assert "s3cr3t" not in plain
    assert TOKEN not in plain
    assert "&#42;&#42;&#42;" in github.comments[0]["body"]


@pytest.mark.parametrize(
    "text",
    [
        '{"pull_request": {"title": "no number"}}',  # as nektos/act and hand-written events have it
        '{"pull_request": {"number": "7"}}',
        "[]",
        "",
        None,
    ],
)
def test_summary_and_annotations_need_no_valid_event(
    show: Callable[..., Published],
    github: FakeGitHub,
    environment: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str | None,
) -> None:
    (tmp_path / "event.json").unlink()
    if text is not None:
        (tmp_path / "event.json").write_text(text, encoding="utf-8")
    published = show()
    (warning,) = published.warnings
    assert warning.startswith("Not written: the comment and the commit status. The event file ")
    assert "FAIL" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out.count("::error ") == 2
    assert github.requests == []
