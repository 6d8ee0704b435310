"""The change against the base branch, and when a comment is posted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_github import HOME, TOKEN, FakeGitHub
from support.results import example

from gate.github.base_result import change_since, has_changed, read_base
from gate.github.inputs import Inputs
from gate.github.messages import Messages
from gate.github.publish import Published, publish
from gate.report.candidates import any_to_json, join_results


@pytest.fixture
def post(github: FakeGitHub, event: Callable[..., Path], tmp_path: Path) -> Callable[..., Published]:
    environment = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(event("pull_request")),
        "GITHUB_REPOSITORY": HOME,
        "GITHUB_API_URL": github.url,
        "GITHUB_RUN_ID": "77",
    }

    def run(verdict: str, comment: str, base: str | None = None, **more: Any) -> Published:
        path = tmp_path / "base.json"
        path.unlink(missing_ok=True)
        if base is not None:
            path.write_text(any_to_json(example(base)), encoding="utf-8")
        given = {"comment": comment, "base-result": str(path), "summary": False, "annotations": False, **more}
        return publish(example(verdict), Inputs.model_validate(given | {"github-token": TOKEN}), None, {}, environment)

    return run


@pytest.mark.parametrize(
    ("mode", "verdict", "base", "posted"),
    [
        ("always", "PASS", "PASS", True),
        ("never", "FAIL", "PASS", False),
        ("on-failure", "PASS", "FAIL", False),
        ("on-failure", "FAIL", "FAIL", True),
        ("on-failure", "INCONCLUSIVE", None, True),  # it blocks
        ("on-change", "PASS", "PASS", False),
        ("on-change", "FAIL", "FAIL", False),
        ("on-change", "FAIL", "PASS", True),
        ("on-change", "PASS", "FAIL", True),
        ("on-change", "PASS", None, True),  # unknown
    ],
)
def test_when_a_comment_is_created(
    post: Callable[..., Published], github: FakeGitHub, mode: str, verdict: str, base: str | None, posted: bool
) -> None:
    assert (post(verdict, mode, base).comment_url is not None) == posted
    assert len(github.comments) == posted


@pytest.mark.parametrize("mode", ["on-failure", "on-change"])
def test_an_existing_comment_never_shows_an_outdated_verdict(
    post: Callable[..., Published], github: FakeGitHub, mode: str
) -> None:
    post("FAIL", mode, "PASS")
    assert "FAIL" in github.comments[0]["body"].splitlines()[1]
    post("PASS", mode, "PASS")
    (comment,) = github.comments
    assert "PASS" in comment["body"].splitlines()[1]


def test_the_comment_shows_the_change_below_its_title(post: Callable[..., Published], github: FakeGitHub) -> None:
    post("FAIL", "always", "PASS")
    lines = github.comments[0]["body"].splitlines()
    assert lines[3] == change_since(example("FAIL"), example("PASS"))
    text = lines[3]
    assert text.startswith("**Against the base branch.** The last result there was PASS (p = 0.126): a drop of ")
    assert "Tasks that fail now and did not then: <code>addition</code>." in text
    drops = [f"{100 * example(verdict).drop:+.2f}" for verdict in ("PASS", "FAIL")]
    assert f"a drop of {drops[0]} points, now {drops[1]} (" in text


def test_results_of_other_models_or_tasks_are_not_compared() -> None:
    base = example("PASS").model_copy(update={"baseline": {"fingerprint": "other"}})
    assert change_since(example("FAIL"), base).endswith("so the drops are not compared.")
    fewer = example("PASS").model_copy(update={"tasks": example("PASS").tasks[:2]})
    assert "points" not in change_since(example("FAIL"), fewer)


def test_several_candidates_are_compared_by_name() -> None:
    base = join_results({"int8": example("PASS"), "int4": example("PASS")})
    now = join_results({"int8": example("PASS"), "int4": example("FAIL"), "fp8": example("PASS")})
    assert has_changed(now, base)
    assert not has_changed(base, base)
    text = change_since(now, base)
    assert "<code>int4</code> was PASS, is FAIL; <code>fp8</code> was not there, is PASS; 1 candidate with" in text
    assert change_since(base, base).endswith("2 candidates with the verdict of the last result there.")
    assert change_since(base, None) == ""


@pytest.mark.parametrize("text", ["[", "{}", '{"schema_version": 1}'])
def test_a_damaged_result_of_the_base_branch_is_a_warning(tmp_path: Path, text: str) -> None:
    (tmp_path / "base.json").write_text(text, encoding="utf-8")
    messages = Messages(annotate=False)
    assert read_base(str(tmp_path / "base.json"), messages) is None
    assert messages.warnings[0].startswith("The last result on the base branch is ignored.")
