"""Which pull request a job is about, and which commit its verdict belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gate.errors import ConfigError
from gate.github.client import Client, GitHubError
from gate.github.context import Context, PullRequest, WorkflowRun


@dataclass(frozen=True)
class Found:
    """A job's pull request; where there is none, `why`."""

    pull: PullRequest | None
    why: str = ""


def commit_of(context: Context) -> str | None:
    """Return the commit that a verdict belongs to.

    The pull request's head and never its merge commit; in the merge queue the group's commit.
    """
    event = context.event
    if event.pull_request is not None:
        return event.pull_request.head.sha
    if event.workflow_run is not None:
        return event.workflow_run.head_sha
    return context.sha if event.merge_group is None else event.merge_group.head_sha


def find_pull(context: Context, client: Client, sha: str | None = None) -> Found:
    """Find the pull request of a job, or the one whose head is the commit `sha`.

    Raises
    ------
    GitHubError
        GitHub refuses to tell.
    """
    event, repository = context.event, context.repository
    if event.pull_request is not None:
        return Found(event.pull_request)
    if event.merge_group is not None:
        number = event.merge_group.number
        found = None if number is None else get_pull(repository, number, client)
        return Found(found, "the merge group's branch names no pull request")
    if context.event_name == "schedule" and sha is None:
        return Found(None, "a schedule belongs to no pull request")
    sha = sha or commit_of(context)
    if sha is None:
        return Found(None, "the commit is not known")
    if event.workflow_run is not None:
        found = pull_of_run(repository, event.workflow_run, client)
    else:  # push, workflow_dispatch and the like
        found = _newest(_with_commit(repository, sha, client), sha, None)
    return Found(found, f"no open pull request has the commit {sha[:12]} as its head")


def get_pull(repository: str, number: int, client: Client) -> PullRequest:
    """Return a pull request by its number.

    Raises
    ------
    GitHubError
        There is none, or GitHub refuses to tell.
    """
    return client.get(f"repos/{repository}/pulls/{number}", PullRequest)


def pull_of_run(repository: str, run: WorkflowRun, client: Client) -> PullRequest | None:
    """Return the open pull request whose head is the run's commit in the run's repository.

    The event names pull requests only where they come from the same repository, and those of other repositories too
    (upstream's): each is asked for again. Forks' are found by their branch, then by the commit.
    """
    home = None if run.head_repository is None else run.head_repository.full_name
    for named in run.pull_requests:
        try:
            pull = get_pull(repository, named.number, client)
        except GitHubError as error:
            if error.status == 404:  # another repository's number, which need not exist here
                continue
            raise
        if _newest([pull], run.head_sha, home) is not None:
            return pull
    if home is not None and run.head_branch:
        query = {"state": "open", "head": f"{home.split('/')[0]}:{run.head_branch}"}
        found = _newest(client.pages(f"repos/{repository}/pulls", PullRequest, query), run.head_sha, home)
        if found is not None:
            return found
    return _newest(_with_commit(repository, run.head_sha, client), run.head_sha, home)


def check_pull(pull: PullRequest, repository: str, run: WorkflowRun | None, sha: str | None) -> None:
    """Refuse a pull request that is not the one that a result is from.

    Parameters
    ----------
    pull : PullRequest
        Named by the user, or by a file of the first stage, which a stranger may have written.
    repository : str
    run : WorkflowRun or None
        The first stage, as GitHub's event tells.
    sha : str or None
        Commit that the user named.

    Raises
    ------
    ConfigError
        Its head is not the run's commit, or lies in another repository.
    """
    home = None if pull.head.repo is None else pull.head.repo.full_name
    if pull.base.repo is not None and pull.base.repo.full_name.lower() != repository.lower():
        raise ConfigError(f"Pull request {pull.number} is not one of {repository}.")
    for name, wanted in (("the run's commit", run.head_sha if run else None), ("--sha", sha)):
        if wanted is not None and pull.head.sha != wanted:
            raise ConfigError(
                f"Pull request {pull.number} has the head {pull.head.sha[:12]}; expected {name}, {wanted[:12]}.",
                "It got a newer commit, or the number is not the run's; without --pr it is found by the commit.",
            )
    if run is not None and (
        home is None or run.head_repository is None or home.lower() != run.head_repository.full_name.lower()
    ):
        raise ConfigError(
            f"The head of pull request {pull.number} is not in the repository that the run is from.",
            "Without --pr it is found by the commit.",
        )


def _with_commit(repository: str, sha: str, client: Client) -> Iterable[PullRequest]:
    return client.pages(f"repos/{repository}/commits/{sha}/pulls", PullRequest)


def _newest(pulls: Iterable[PullRequest], sha: str, home: str | None) -> PullRequest | None:
    """Return the newest open pull request with that head."""
    fits = [
        pull
        for pull in pulls
        if pull.state == "open"
        and pull.head.sha == sha
        and (
            home is None or (pull.head.repo is not None and pull.head.repo.full_name.lower() == home.lower())
        )
    ]
    return max(fits, key=lambda pull: pull.number, default=None)
