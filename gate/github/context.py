"""The job's context on GitHub: environment variables and the event payload, as typed values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gate.errors import ConfigError

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*/(?!\.{1,2}$)[A-Za-z0-9._-]+")
_SERVER = re.compile(r"https?://[A-Za-z0-9.-]+(:\d+)?")

COMMIT_SHA = r"^([0-9a-f]{40}|[0-9a-f]{64})$"
"""Pattern of a commit's full name, SHA-1 or SHA-256."""
Sha = Annotated[str, Field(pattern=COMMIT_SHA)]


class Payload(BaseModel):
    """Base of the parts of GitHub's payloads and responses; unused fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Repository(Payload):
    """A repository, by its full name owner/name."""

    full_name: str

    def is_named(self, name: str) -> bool:
        """Whether this is the repository `name` (owner/name); GitHub ignores case."""
        return self.full_name.lower() == name.lower()


class Branch(Payload):
    """Head or base of a pull request. `repo` is None where a fork was deleted."""

    ref: str
    sha: Sha
    repo: Repository | None = None


class PullRequest(Payload):
    """A pull request, from an event or from the API."""

    number: int = Field(ge=1)
    head: Branch
    base: Branch
    state: str = "open"

    @property
    def from_fork(self) -> bool:
        """Whether the head is in another repository, in which case the job's token is read-only."""
        return self.head.repo is None or self.head.repo != self.base.repo


class PullRequestNumber(Payload):
    """A reference to a pull request by its number."""

    number: int = Field(ge=1)


class WorkflowRun(Payload):
    """The run that triggered a `workflow_run` event. GitHub leaves `pull_requests` empty for forks."""

    id: int
    event: str
    head_sha: Sha
    head_branch: str | None = None
    head_repository: Repository | None = None
    conclusion: str | None = None
    pull_requests: list[PullRequestNumber] = []


class MergeGroup(Payload):
    """A group of pull requests in the merge queue."""

    head_sha: Sha
    head_ref: str

    @property
    def number(self) -> int | None:
        """Number of the last pull request of the merge group, which GitHub puts into the branch name."""
        match = re.search(r"/pr-(\d{1,10})-[0-9a-f]{40,64}$", self.head_ref)
        return int(match[1]) if match else None


class Event(Payload):
    """The parts of an event's payload that quantgate uses."""

    pull_request: PullRequest | None = None
    workflow_run: WorkflowRun | None = None
    merge_group: MergeGroup | None = None


@dataclass(frozen=True)
class Context:
    """The job's context.

    Attributes
    ----------
    event_name : str
        pull_request, workflow_run, schedule, ...
    repository : str
        owner/name.
    sha : str or None
        `GITHUB_SHA`; for a pull request this is the merge commit, not the head.
    workspace, summary : Path or None
        The checkout, and the file of the job summary.
    """

    event_name: str
    repository: str
    sha: str | None
    api_url: str
    server_url: str
    run_id: str | None
    workspace: Path | None
    summary: Path | None
    event: Event

    @property
    def run_url(self) -> str | None:
        """Address of this workflow run."""
        return None if self.run_id is None else self.url_of_run(self.run_id)

    def url_of_run(self, run: str | int) -> str:
        """Return the address of a workflow run of this repository."""
        return f"{self.server_url}/{self.repository}/actions/runs/{run}"


def on_github(environment: Mapping[str, str]) -> bool:
    """Return whether this process runs in a job of GitHub Actions."""
    return environment.get("GITHUB_ACTIONS") == "true" or "GITHUB_EVENT_NAME" in environment


def read_context(environment: Mapping[str, str], repository: str | None = None) -> Context:
    """Read the runner's environment variables and the event file.

    Parameters
    ----------
    repository : str, optional
        owner/name; default: `GITHUB_REPOSITORY`.

    Raises
    ------
    ConfigError
        The repository is missing, or a variable or the event file is malformed.
    """
    name = repository or environment.get("GITHUB_REPOSITORY") or ""
    if not _REPOSITORY.fullmatch(name):
        raise ConfigError(
            f"No repository: expected owner/name, found {name!r}.",
            "GitHub sets GITHUB_REPOSITORY; elsewhere pass --repo owner/name.",
        )
    server = (environment.get("GITHUB_SERVER_URL") or "https://github.com").rstrip("/")
    if not _SERVER.fullmatch(server):
        raise ConfigError(f"GITHUB_SERVER_URL is {server!r}; expected an address such as https://github.com.")
    sha = environment.get("GITHUB_SHA") or None
    if sha is not None and not re.fullmatch(COMMIT_SHA, sha):
        raise ConfigError(f"GITHUB_SHA is {sha!r}; expected the 40 hexadecimal digits of a commit.")
    run = environment.get("GITHUB_RUN_ID") or ""
    return Context(
        event_name=environment.get("GITHUB_EVENT_NAME", ""),
        repository=name,
        sha=sha,
        api_url=environment.get("GITHUB_API_URL") or "https://api.github.com",
        server_url=server,
        run_id=run if run.isascii() and run.isdigit() else None,
        workspace=file_path(environment.get("GITHUB_WORKSPACE")),
        summary=file_path(environment.get("GITHUB_STEP_SUMMARY")),
        event=_read_event(file_path(environment.get("GITHUB_EVENT_PATH"))),
    )


def file_path(text: str | None) -> Path | None:
    """Return the path in a variable of the runner; None where it is not set or empty."""
    return Path(text) if text else None


def _read_event(path: Path | None) -> Event:
    if path is None:
        return Event()
    try:
        return Event.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(
            f"The event file {path} (GITHUB_EVENT_PATH) does not exist.",
            "In your own container, mount the runner's folder; GitHub mounts it for container actions and jobs.",
        ) from None
    except OSError as error:
        raise ConfigError(f"The event file {path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        raise ConfigError(f"The event file {path} is not a GitHub event: {where}: {problem['msg']}.") from None
