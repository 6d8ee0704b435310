"""GitHub: the event that started the job, and what the token may do."""

from __future__ import annotations

from collections.abc import Mapping

from gate.doctor.finding import Finding
from gate.errors import GateError
from gate.github.client import Client, GitHubError
from gate.github.context import Context, on_github, read_context
from gate.github.given import raw_input

_ADD_PERMISSION = "Add it to the job's permissions. A fork's token cannot have it; see examples/forks.yml."


def examine_github(environment: Mapping[str, str]) -> list[Finding]:
    """Report the event and the token's permissions; outside of GitHub Actions, report that."""
    if not on_github(environment):
        text = "not a job of GitHub Actions: there is no comment, summary or status."
        return [Finding("GitHub", "ok", text)]
    try:
        context = read_context(environment)
    except GateError as error:
        return [Finding("GitHub", "warn", error.message, error.hint)]
    findings = [_event(context)]
    token = raw_input(environment, "github-token") or environment.get("GITHUB_TOKEN")
    if not token:
        text = "none: no comment and no status can be written. The verdict does not need a token."
        remedy = "Set the input github-token, or GITHUB_TOKEN where `gate` runs in a job's container."
        return [*findings, Finding("token", "warn", text, remedy)]
    try:
        with Client(context.api_url, token, budget=5.0, timeout=10.0) as client:
            findings += _permissions(context, client)
    except GitHubError as error:
        findings.append(Finding("token", "warn", error.message, error.hint))
    return findings


def _event(context: Context) -> Finding:
    where = f"{context.repository} at {context.server_url}"
    pull = context.event.pull_request
    if pull is None:
        return Finding("event", "ok", f"{context.event_name or 'unknown event'} in {where}.")
    text = f"{context.event_name} of pull request {pull.number} in {where}"
    if pull.from_fork and context.event_name == "pull_request":
        text += ", from a fork: the token is read-only, so this job cannot comment."
        remedy = "Use the second stage in examples/forks.yml. The verdict still decides the job."
        return Finding("event", "warn", text, remedy)
    return Finding("event", "ok", f"{text}.")


def _permissions(context: Context, client: Client) -> list[Finding]:
    client.get(f"repos/{context.repository}", dict)
    findings = [Finding("token", "ok", f"can read {context.repository} at {context.api_url}.")]
    pull = context.event.pull_request
    if pull is not None:
        path = f"repos/{context.repository}/issues/{pull.number}/comments"
        findings.append(_probe_write(client, path, "comment", "pull-requests: write"))
    if context.sha is not None:
        path = f"repos/{context.repository}/statuses/{context.sha}"
        findings.append(_probe_write(client, path, "status", "statuses: write"))
    return findings


def _probe_write(client: Client, path: str, what: str, permission: str) -> Finding:
    """Send an empty request, which GitHub refuses as invalid (422) or as forbidden (403, 404).

    No API lists a job's permissions. The request changes nothing, because its required field is missing.
    """
    try:
        client.post(path, {}, dict, repeatable=False)
    except GitHubError as error:
        if error.status == 422:
            return Finding(what, "ok", f"the token may write it ({permission}).")
        if error.status in (403, 404):
            text = f"the token may not write it: {permission} is missing."
            return Finding(what, "warn", text, _ADD_PERMISSION)
        text = f"it is unknown whether the token may write it: {error.message}"
        return Finding(what, "warn", text, error.hint)
    return Finding(what, "warn", "GitHub accepted an invalid request, so the token's permission is unknown.")
