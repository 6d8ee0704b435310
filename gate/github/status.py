"""The commit status: a fixed name that branch protection and the merge queue can require."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from gate.errors import ConfigError
from gate.github.client import Client
from gate.report import words
from gate.report.escape import one_line
from gate.report.result import Result

DESCRIPTION_LIMIT = 140


class _Status(BaseModel):
    model_config = ConfigDict(extra="ignore")

    state: str


def check_context(name: str) -> str:
    """Return the status's name without spaces around it.

    Raises
    ------
    ConfigError
        It is empty, longer than 100 characters, or holds characters that nobody sees.
    """
    found = name.strip()
    if not found or len(found) > 100 or one_line(found) != found:
        raise ConfigError(
            f"status-context is {one_line(name, 60)!r}; expected one line of 1 to 100 characters.",
            "For example: quantgate.",
        )
    return found


def describe(result: Result) -> str:
    """Return the status's sentence. Only numbers and words of ours: no text of a model or a task."""
    worse = [task for task in result.tasks if task.p_holm is not None and task.p_holm <= result.alpha]
    text = f"{result.verdict}: {words.headline(result)}, p = {words.p_value(result.p_value)}"
    if worse and result.verdict == "FAIL":
        text += f", {len(worse)} worse on {'its' if len(worse) == 1 else 'their'} own"
    return one_line(text, DESCRIPTION_LIMIT)


def state_of(result: Result) -> str:
    """Return success where the job may go on, failure where it may not."""
    return "success" if result.exit_code == 0 else "failure"


def post_status(
    client: Client,
    repository: str,
    sha: str,
    context: str,
    state: str,
    description: str,
    url: str | None,
) -> None:
    """Set the status `context` of a commit; the last one set counts, so trying again does no harm.

    Raises
    ------
    ConfigError, GitHubError
        The name is wrong; GitHub does not allow it, or cannot be reached.
    """
    body = {"state": state, "context": check_context(context), "description": description}
    if url is not None:
        body["target_url"] = url
    client.post(f"repos/{repository}/statuses/{sha}", dict(body), _Status, repeatable=True)
