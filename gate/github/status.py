"""The commit status: a fixed name that branch protection and the merge queue can require."""

from __future__ import annotations

from pydantic import JsonValue

from gate.decision import wording
from gate.errors import ConfigError
from gate.github.client import Client
from gate.report.candidates import AnyResult, CandidatesResult
from gate.report.candidates_rows import headline
from gate.report.escape import one_line

_DESCRIPTION_LIMIT = 140  # characters, GitHub's limit


def check_status_context(name: str) -> str:
    """Return the name of a commit status, without surrounding spaces; raise a ConfigError if it is invalid."""
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
    worse = len(result.failed_tasks)
    if worse and result.verdict == "FAIL":
        text += f", {worse} worse on {'its' if worse == 1 else 'their'} own"
    return one_line(text, _DESCRIPTION_LIMIT)


def status_state(result: AnyResult) -> str:
    """Return failure where the verdict blocks the job, else success."""
    return "failure" if result.blocks else "success"


def post_status(
    client: Client, repository: str, sha: str, context: str, state: str, description: str, url: str | None
) -> None:
    """Set the status `context` of a commit. The last one counts, so repeating the request is harmless."""
    body: dict[str, JsonValue] = {
        "state": state,
        "context": check_status_context(context),
        "description": one_line(description, _DESCRIPTION_LIMIT),
        **({} if url is None else {"target_url": url}),
    }
    client.post(f"repos/{repository}/statuses/{sha}", body, dict, repeatable=True)
