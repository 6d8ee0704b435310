"""What branch protection and the merge queue can require: a commit status or a check run of a fixed name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field, JsonValue

from gate.decision import wording
from gate.errors import ConfigError
from gate.github.client import Client
from gate.github.context import Payload
from gate.report.candidates import AnyResult, CandidatesResult
from gate.report.candidates_rows import headline
from gate.report.escape import one_line

_DESCRIPTION_LIMIT = 140  # characters, GitHub's limit
CHECK_SUMMARY_LIMIT = 65_535
"""GitHub's limit for the summary of a check run."""
Outcome = Literal["pending", "success", "neutral", "failure", "error"]
_STATES: dict[Outcome, str] = {"neutral": "success"}  # a commit status has no neutral state
_CONCLUSIONS: dict[Outcome, str] = {"error": "failure"}


@dataclass(frozen=True)
class Mark:
    """A commit status or a check run.

    Attributes
    ----------
    kind : str
        `status` or `check`.
    name : str
        Its name, which branch protection requires.
    run_id : str or None
        The workflow run that sets it.
    url : str or None
        Address that it links to.
    """

    kind: Literal["check", "status"]
    name: str
    run_id: str | None = None
    url: str | None = None

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return f"The {'check run' if self.kind == 'check' else 'commit status'} {self.name}"

    @property
    def permission(self) -> str:
        """What the token needs."""
        return "checks: write" if self.kind == "check" else "statuses: write"


class _CheckRun(Payload):
    id: int
    status: str
    external_id: str | None = None


class _CheckRuns(Payload):
    check_runs: list[_CheckRun] = Field(default_factory=list)


def check_status_context(name: str) -> str:
    """Return the name of a mark, without surrounding spaces; raise a ConfigError if it is invalid."""
    stripped = name.strip()
    if not stripped or len(stripped) > 100 or one_line(stripped) != stripped:
        raise ConfigError(
            f"status-context is {one_line(name, 60)!r}; expected one line of 1 to 100 characters.",
            "For example: quantgate.",
        )
    return stripped


def status_description(result: AnyResult) -> str:
    """Return the status's text. It contains no text from a model or a task."""
    if isinstance(result, CandidatesResult):
        text = f"{result.verdict}: {headline(result)}, smallest {wording.p_equation(result.p_value)}"
        return one_line(text, _DESCRIPTION_LIMIT)
    text = f"{result.verdict}: {wording.headline(result)}, {wording.deciding_p(result)}"
    if result.accepted is not None and result.accepted.p_value is not None:
        text += f", {wording.p_equation(result.accepted.p_value)} without accepted regressions"
    worse = len(result.failed_tasks)
    if worse and result.verdict == "FAIL":
        text += f", {worse} worse on {'its' if worse == 1 else 'their'} own"
    return one_line(text, _DESCRIPTION_LIMIT)


def outcome_of(result: AnyResult, report_only: bool = False) -> Outcome:
    """Return failure where the verdict blocks the job, neutral where a verdict other than PASS does not."""
    if result.verdict == "PASS" and not result.blocks:
        return "success"
    return "failure" if result.blocks and not report_only else "neutral"


def status_state(result: AnyResult) -> Outcome:
    """Return failure where the verdict blocks the job, else success."""
    return "failure" if result.blocks else "success"


def post_mark(
    client: Client, repository: str, sha: str, mark: Mark, outcome: Outcome, text: str, summary: str = ""
) -> None:
    """Set a commit status or a check run. The newest of a name counts, so repeating the request is harmless.

    Parameters
    ----------
    outcome : str
        `pending` at the start of a run, so that the mark of an earlier run no longer counts.
    text : str
        One line. GitHub shows it beside the name.
    summary : str
        Markdown, for the page of a check run.
    """
    link: dict[str, JsonValue] = {}
    if mark.kind == "status":
        if mark.url is not None:
            link = {"target_url": mark.url}
        body: dict[str, JsonValue] = {
            "state": _STATES.get(outcome, outcome),
            "context": check_status_context(mark.name),
            "description": one_line(text, _DESCRIPTION_LIMIT),
            **link,
        }
        client.post(f"repos/{repository}/statuses/{sha}", body, dict, repeatable=True)
        return
    if mark.url is not None:
        link = {"details_url": mark.url}
    state: dict[str, JsonValue] = {"status": "in_progress"}
    if outcome != "pending":
        state = {"status": "completed", "conclusion": _CONCLUSIONS.get(outcome, outcome)}
    line = one_line(text, _DESCRIPTION_LIMIT)
    body = {**state, **link, "output": {"title": line, "summary": summary or line}}
    started = None if outcome == "pending" else _started(client, repository, sha, mark)
    if started is not None:
        client.patch(f"repos/{repository}/check-runs/{started}", body, dict)
        return
    head: dict[str, JsonValue] = {
        "name": check_status_context(mark.name),
        "head_sha": sha,
        "external_id": _external_id(mark),
    }
    client.post(f"repos/{repository}/check-runs", {**head, **body}, dict, repeatable=True)


def _external_id(mark: Mark) -> str:
    return f"quantgate {mark.run_id or ''} {mark.name}"


def _started(client: Client, repository: str, sha: str, mark: Mark) -> int | None:
    """Return the check run that this workflow run started. A job's own check run may have the same name."""
    query: dict[str, str | int] = {"check_name": mark.name, "filter": "all", "per_page": 100}
    found = client.get(f"repos/{repository}/commits/{sha}/check-runs", _CheckRuns, query).check_runs
    own = [run.id for run in found if run.external_id == _external_id(mark) and run.status != "completed"]
    return max(own, default=None)
