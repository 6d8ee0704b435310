"""GitLab CI: artifacts in GitLab's formats, one note per gate, and refusals that are only warnings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from support.fake_gitlab import NOTES, TOKEN, FakeGitLab
from support.results import example

from gate.errors import ConfigError, ExitCode
from gate.github.comment import marker
from gate.github.inputs import Inputs
from gate.github.outputs import error_outputs
from gate.gitlab.files import CODE_QUALITY, JUNIT, VARIABLES, code_quality, write_variables
from gate.gitlab.publish import publish
from gate.report.candidates import join_results

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def gitlab() -> Iterator[FakeGitLab]:
    with FakeGitLab() as fake:
        yield fake


@pytest.fixture
def show(gitlab: FakeGitLab, tmp_path: Path) -> Callable[..., str | None]:
    """Publish as in a job of a merge-request pipeline (https://docs.gitlab.com/ci/variables/predefined_variables/)."""

    def run(verdict: str = "FAIL", environment: dict[str, str] | None = None, **given: Any) -> str | None:
        variables = {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": gitlab.url,
            "CI_PROJECT_ID": "7",
            "CI_PROJECT_URL": "https://gitlab.com/team/models",
            "CI_PROJECT_DIR": str(tmp_path),
            "CI_MERGE_REQUEST_IID": "5",
            "CI_JOB_URL": "https://gitlab.com/team/models/-/jobs/9",
            "GITLAB_TOKEN": TOKEN,
        }
        inputs = Inputs.model_validate({key.replace("_", "-"): value for key, value in given.items()})
        lines = {"addition": 12}
        return publish(example(verdict), inputs, tmp_path / "gate.yml", lines, variables | (environment or {}))

    return run


def test_one_note_is_updated_in_place(show: Callable[..., str | None], gitlab: FakeGitLab) -> None:
    for number in range(120):  # more than one page
        gitlab.add(f"note {number}", "someone")
    gitlab.add(marker("quantgate") + "\nquoted", "someone")
    url = show("FAIL")
    assert url == f"https://gitlab.com/team/models/-/merge_requests/5#note_{gitlab.notes[-1]['id']}"
    assert show("PASS") == url
    own = [note for note in gitlab.notes if note["body"].startswith(marker("quantgate"))]
    assert len(own) == 2
    assert "quantgate: PASS" in own[1]["body"]
    assert "[Full report and log](https://gitlab.com/team/models/-/jobs/9)" in own[1]["body"]
    assert {request.path for request in gitlab.requests if request.method == "POST"} == {NOTES}


def test_modes_of_the_comment_apply(show: Callable[..., str | None], gitlab: FakeGitLab) -> None:
    assert show("PASS", comment="on-failure") is None
    assert show("PASS", comment="never") is None
    assert gitlab.notes == []
    assert show("FAIL", comment="on-failure") is not None


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"GITLAB_TOKEN": ""}, "GITLAB_TOKEN is not set"),
        ({"GITLAB_TOKEN": "wrong"}, "401 Unauthorized"),
        ({"CI_API_V4_URL": "http://127.0.0.1:9"}, "No merge-request note: "),
        ({"CI_MERGE_REQUEST_IID": ""}, "this is not a pipeline of a merge request"),
    ],
)
def test_a_note_that_cannot_be_written_is_a_warning(
    show: Callable[..., str | None], environment: dict[str, str], says: str, capfd: pytest.CaptureFixture[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import stamina

    stamina.set_testing(True, attempts=2, cap=True)
    try:
        assert show("FAIL", environment) is None
    finally:
        stamina.set_testing(False)
    err = capfd.readouterr().err
    assert says in err
    assert TOKEN not in err
    assert (tmp_path / CODE_QUALITY).exists()


def test_a_missing_permission_is_named(
    show: Callable[..., str | None], gitlab: FakeGitLab, capfd: pytest.CaptureFixture[str]
) -> None:
    gitlab.status = 403
    assert show("FAIL") is None
    assert "needs the scope api" in capfd.readouterr().err


def test_the_code_quality_report_has_gitlabs_format(show: Callable[..., str | None], tmp_path: Path) -> None:
    """https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format"""
    show("FAIL")
    data = (tmp_path / CODE_QUALITY).read_bytes()
    assert data.startswith(b"[")  # no byte order mark
    verdict, task = json.loads(data)
    for issue in (verdict, task):
        assert issue["description"]
        assert issue["check_name"] == "quantgate/quantgate"
        assert issue["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert issue["location"]["path"] == "gate.yml"
    assert (verdict["location"]["lines"]["begin"], task["location"]["lines"]["begin"]) == (1, 12)
    assert verdict["fingerprint"] != task["fingerprint"]
    assert task["description"].startswith("addition is worse: 85.0% to 72.5%")
    show("PASS")
    assert json.loads((tmp_path / CODE_QUALITY).read_text()) == []


def test_severity_follows_what_the_verdict_does() -> None:
    def severities(verdict: str, report_only: bool = False, **change: Any) -> list[object]:
        result = example(verdict).model_copy(update=change)
        return [issue["severity"] for issue in code_quality(result, "q", None, {}, report_only)]

    assert severities("FAIL") == ["critical", "critical"]
    assert severities("FAIL", report_only=True) == ["major", "major"]
    assert severities("INCONCLUSIVE") == ["critical"]  # it blocks
    assert severities("INCONCLUSIVE", exit_code=0) == ["minor"]


def test_each_candidate_that_fails_is_a_finding() -> None:
    result = join_results({"good": example("PASS"), "bad": example("FAIL")}, {"lost": ConfigError("no such folder")})
    texts = [str(issue["description"]) for issue in code_quality(result, "q", None, {}, False)]
    assert [text.split(":")[0] for text in texts] == ["FAIL", "bad", "lost"]


def test_junit_is_written(show: Callable[..., str | None], tmp_path: Path) -> None:
    show("FAIL")
    suites = ElementTree.parse(tmp_path / JUNIT).getroot()
    assert suites.find(".//failure") is not None


def test_variables_of_a_run_without_a_verdict(tmp_path: Path) -> None:
    write_variables(tmp_path, error_outputs(ExitCode.EVALUATION) | {"report-path": "a\nGATE_VERDICT=PASS"})
    lines = (tmp_path / VARIABLES).read_text().splitlines()
    assert "GATE_VERDICT=ERROR" in lines
    assert "GATE_EXIT_CODE=4" in lines
    assert len([line for line in lines if line.startswith("GATE_VERDICT=")]) == 1
    assert all(line.split("=")[0].replace("_", "").isalpha() for line in lines)


def test_the_template_collects_every_file() -> None:
    job = yaml.safe_load((ROOT / "examples" / "gitlab-ci.yml").read_text(encoding="utf-8"))["model-quality"]
    assert job["artifacts"]["reports"] == {"codequality": CODE_QUALITY, "junit": JUNIT, "dotenv": VARIABLES}
    assert job["artifacts"]["when"] == "always"
    assert any(line.startswith("gate action") for line in job["script"])
