"""GitHub: the event, and what the token may do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gate.doctor.finding import Finding
from gate.errors import GateError
from gate.github.client import Client, GitHubError
from gate.github.context import Context, on_github, read_context

_PERMISSIONS = "Add it to the job's permissions; a fork's token never has it (examples/fork-safe-*.yml)."


def examine_github(environment: Mapping[str, str]) -> list[Finding]:
    """Say where the job runs and what its token may do; outside GitHub Actions, that it is none."""
    if not on_github(environment):
        return [Finding("GitHub", "ok", "this is no job of GitHub Actions: no comment, summary or status.")]
    try:
        context = read_context(environment)
    except GateError as error:
        return [Finding("GitHub", "warn", error.message, error.hint)]
    findings = [_event(context)]
    token = environment.get("INPUT_GITHUB-TOKEN") or environment.get("GITHUB_TOKEN")
    if not token:
        findings.append(
            Finding(
                "token",
                "warn",
                "none: neither comment nor status can be written; the verdict does not need one.",
                "Set the input github-token, or GITHUB_TOKEN where `gate` runs in a job's container.",
            )
        )
        return findings
    try:
        with Client(context.api_url, token, budget=5.0, timeout=10.0) as client:
            findings += _token(context, client)
    except GitHubError as error:
        findings.append(Finding("token", "warn", error.message, error.hint))
    return findings


def _event(context: Context) -> Finding:
    where = f"{context.repository} at {context.server_url}"
    pull = context.event.pull_request
    if pull is None:
        return Finding("event", "ok", f"{context.event_name or 'not known'} in {where}.")
    text = f"{context.event_name} of pull request {pull.number} in {where}"
    if pull.from_fork and context.event_name == "pull_request":
        return Finding(
            "event",
            "warn",
            f"{text}, from a fork: the token may only read, so there is no comment from this job.",
            "Use the two stages of examples/fork-safe-*.yml; the verdict is the job's result all the same.",
        )
    return Finding("event", "ok", f"{text}.")


def _token(context: Context, client: Client) -> list[Finding]:
    client.get(f"repos/{context.repository}", dict)
    findings = [Finding("token", "ok", f"reads {context.repository} at {context.api_url}.")]
    pull = context.event.pull_request
    if pull is not None:
        place = f"repos/{context.repository}/issues/{pull.number}/comments"
        findings.append(_may_write(client, place, "comment", "pull-requests: write"))
    if context.sha is not None:
        place = f"repos/{context.repository}/statuses/{context.sha}"
        findings.append(_may_write(client, place, "status", "statuses: write"))
    return findings


def _may_write(client: Client, place: str, what: str, permission: str) -> Finding:
    """Send what GitHub can only refuse (nothing), and see why it refuses: as empty (422) or as forbidden (403, 404).

    No API tells a job's permissions. Nothing can come of the request: its required field is missing.
    """
    nothing: dict[str, Any] = {}
    try:
        client.post(place, nothing, dict, repeatable=False)
    except GitHubError as error:
        if error.status == 422:
            return Finding(what, "ok", f"the token may write one ({permission}).")
        if error.status in (403, 404):
            return Finding(what, "warn", f"the token may not write one: it lacks {permission}.", _PERMISSIONS)
        return Finding(
            what, "warn", f"whether the token may write one is not known: {error.message}", error.hint
        )
    return Finding(what, "warn", "GitHub took a request that it should have refused; nothing is known.")
