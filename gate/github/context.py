"""Where a job runs: GitHub's environment variables and the event that started it, as typed values."""

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

Sha = Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]


class _Part(BaseModel):
    """A part of what GitHub sends; fields that nobody here needs are left out."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Repository(_Part):
    """A repository by its name, owner/name."""

    full_name: str


class Branch(_Part):
    """One side of a pull request. `repo` is None where a fork was deleted."""

    ref: str
    sha: Sha
    repo: Repository | None = None


class PullRequest(_Part):
    """A pull request, from an event or from the API."""

    number: int = Field(ge=1)
    head: Branch
    base: Branch
    state: str = "open"

    @property
    def from_fork(self) -> bool:
        """Whether the head is in another repository, whose jobs have a token that may only read."""
        return self.head.repo is None or self.head.repo != self.base.repo


class Numbered(_Part):
    """A pull request of which only the number is told."""

    number: int = Field(ge=1)


class WorkflowRun(_Part):
    """The run that a `workflow_run` event is about. GitHub leaves `pull_requests` empty for forks."""

    id: int
    event: str
    head_sha: Sha
    head_branch: str | None = None
    head_repository: Repository | None = None
    conclusion: str | None = None
    pull_requests: list[Numbered] = []


class MergeGroup(_Part):
    """A group of pull requests in the merge queue."""

    head_sha: Sha
    head_ref: str

    @property
    def number(self) -> int | None:
        """The last pull request of the group, which its branch is named after."""
        found = re.search(r"/pr-(\d{1,10})-[0-9a-f]{40,64}$", self.head_ref)
        return int(found[1]) if found else None


class Event(_Part):
    """What is used of an event's payload."""

    pull_request: PullRequest | None = None
    workflow_run: WorkflowRun | None = None
    merge_group: MergeGroup | None = None


@dataclass(frozen=True)
class Context:
    """The job's place on GitHub.

    Attributes
    ----------
    event_name : str
        pull_request, workflow_run, schedule, ...
    repository : str
        owner/name.
    sha : str or None
        `GITHUB_SHA`; for a pull request that is a merge commit and not its head.
    api_url, server_url : str
        Of github.com or of an Enterprise Server.
    run_id : str or None
    workspace, summary : Path or None
        Where the repository lies, and the job summary's file.
    event : Event
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
        """Address of a workflow run of this repository."""
        return f"{self.server_url}/{self.repository}/actions/runs/{run}"


def on_github(environment: Mapping[str, str]) -> bool:
    """Whether this is a job of GitHub Actions."""
    return environment.get("GITHUB_ACTIONS") == "true" or "GITHUB_EVENT_NAME" in environment


def read_context(environment: Mapping[str, str], repository: str | None = None) -> Context:
    """Read the runner's environment and the event file.

    Parameters
    ----------
    environment : mapping of str to str
    repository : str, optional
        owner/name, instead of `GITHUB_REPOSITORY`.

    Raises
    ------
    ConfigError
        There is no repository, or a variable or the event file is not what GitHub writes.
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
    if sha is not None and not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", sha):
        raise ConfigError(f"GITHUB_SHA is {sha!r}; expected the 40 hexadecimal digits of a commit.")
    run = environment.get("GITHUB_RUN_ID") or ""
    return Context(
        event_name=environment.get("GITHUB_EVENT_NAME", ""),
        repository=name,
        sha=sha,
        api_url=environment.get("GITHUB_API_URL") or "https://api.github.com",
        server_url=server,
        run_id=run if run.isascii() and run.isdigit() else None,
        workspace=_path(environment.get("GITHUB_WORKSPACE")),
        summary=_path(environment.get("GITHUB_STEP_SUMMARY")),
        event=_event(_path(environment.get("GITHUB_EVENT_PATH"))),
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _event(path: Path | None) -> Event:
    if path is None:
        return Event()
    try:
        return Event.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(
            f"The event file {path} (GITHUB_EVENT_PATH) does not exist.",
            "In a container of your own, mount the runner's folder; GitHub does so for container actions and jobs.",
        ) from None
    except OSError as error:
        raise ConfigError(f"The event file {path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ConfigError(f"The event file {path} is not GitHub's: {where}: {first['msg']}.") from None
