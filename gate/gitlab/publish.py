"""Publishes a verdict in a job of GitLab CI: artifacts, and one note on the merge request that is updated in place.

The note needs a token with the scope `api` in GITLAB_TOKEN: a job's own token may not write notes. API:
https://docs.gitlab.com/api/notes/#merge-requests
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from gate.errors import GateError
from gate.github.annotations import path_in_repository
from gate.github.base_result import read_base
from gate.github.client import Client, GitHubError
from gate.github.comment import marker
from gate.github.context import Payload
from gate.github.inputs import Inputs
from gate.github.messages import Messages
from gate.github.publish import comment_text, is_comment_wanted
from gate.gitlab.files import write_reports
from gate.report.candidates import AnyResult
from gate.report.redact import redact, secrets_of

_PERMISSION = "The token in GITLAB_TOKEN needs the scope api and the role Reporter or higher."


class _Author(Payload):
    username: str


class _Note(Payload):
    id: int
    body: str = ""
    author: _Author | None = None


def on_gitlab(environment: Mapping[str, str]) -> bool:
    """Return whether this process runs in a job of GitLab CI."""
    return environment.get("GITLAB_CI") == "true"


def project_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder that artifacts are collected from."""
    return Path(environment.get("CI_PROJECT_DIR") or ".")


def publish(
    result: AnyResult,
    inputs: Inputs,
    config_path: Path | None,
    task_lines: Mapping[str, int],
    environment: Mapping[str, str],
) -> str | None:
    """Write the artifacts and the note; return the note's address. Problems are printed as warnings.

    Parameters
    ----------
    config_path : Path or None
        gate.yml, for the places of the findings.
    task_lines : mapping of str to int
        Line of each task in gate.yml, from 1.
    """
    messages = Messages(annotate=False)
    token = (environment.get("GITLAB_TOKEN") or "").strip()
    result = redact(result, secrets_of(environment, token or None))
    folder = project_folder(environment)
    try:
        file = path_in_repository(config_path, folder)
        write_reports(folder, result, inputs.name, file, task_lines, inputs.report_only)
    except (GateError, OSError) as error:
        messages.warn(f"The artifacts were not written: {error}")
    if inputs.comment == "never":
        return None
    number, project = environment.get("CI_MERGE_REQUEST_IID") or "", environment.get("CI_PROJECT_ID") or ""
    if not (number.isdecimal() and project.isdecimal()):
        messages.note("No merge-request note: this is not a pipeline of a merge request.")
        return None
    if not token:
        messages.warn(f"No merge-request note: GITLAB_TOKEN is not set. {_PERMISSION}")
        return None
    base = read_base(inputs.base_result, messages)
    body = comment_text(result, inputs, environment.get("CI_JOB_URL"), base, messages)
    create = is_comment_wanted(inputs.comment, result, base)
    address = f"projects/{quote(project)}/merge_requests/{quote(number)}/notes"
    try:
        with Client(environment.get("CI_API_V4_URL", ""), token, waiting=messages.waiting) as client:
            note = _post_note(client, address, marker(inputs.name), body, create)
    except GitHubError as error:
        messages.warn(f"No merge-request note: {error} {_PERMISSION}")
        return None
    if note is None:
        messages.note(f"No merge-request note: comment is {inputs.comment}.")
        return None
    return f"{environment.get('CI_PROJECT_URL', '')}/-/merge_requests/{number}#note_{note.id}"


def _post_note(client: Client, address: str, prefix: str, body: str, create: bool) -> _Note | None:
    """Update the token's own newest note of this gate, or create one. Other users may quote the marker."""
    login = client.get("user", _Author).username
    query = {"sort": "desc", "order_by": "created_at"}
    for note in client.pages(address, _Note, query):
        if note.body.startswith(prefix) and note.author is not None and note.author.username == login:
            return client.patch(f"{address}/{note.id}", {"body": body}, _Note, method="PUT")
    return client.post(address, {"body": body}, _Note, repeatable=False) if create else None
