"""The pull request that a job belongs to, and the commit that its verdict is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gate.errors import ConfigError
from gate.github.client import Client, GitHubError
from gate.github.context import Context, PullRequest, Repository, WorkflowRun


@dataclass(frozen=True)
class PullLookup:
    """A job's pull request, or the reason why it has none."""

    pull: PullRequest | None
    reason: str = ""


def commit_of(context: Context) -> str | None:
    """Return the commit that a verdict is about.

    For a pull request this is its head, never the merge commit; in the merge queue, the commit of the group.
    """
    event = context.event
    if event.pull_request is not None:
        return event.pull_request.head.sha
    if event.workflow_run is not None:
        return event.workflow_run.head_sha
    return context.sha if event.merge_group is None else event.merge_group.head_sha


def find_pull(context: Context, client: Client, sha: str | None = None) -> PullLookup:
    """Find the pull request of a job, or the one whose head is the commit `sha`."""
    event, repository = context.event, context.repository
    if event.pull_request is not None:
        return PullLookup(event.pull_request)
    if event.merge_group is not None:
        number = event.merge_group.number
        pull = None if number is None else get_pull(repository, number, client)
        return PullLookup(pull, "the merge group's branch names no pull request")
    if context.event_name == "schedule" and sha is None:
        return PullLookup(None, "a scheduled run belongs to no pull request")
    sha = sha or commit_of(context)
    if sha is None:
        return PullLookup(None, "the commit is unknown")
    if event.workflow_run is not None:
        pull = pull_of_run(repository, event.workflow_run, client)
    else:  # push, workflow_dispatch and other events
        pull = _newest_open(_pulls_with_commit(repository, sha, client), sha)
    return PullLookup(pull, f"no open pull request has the commit {sha[:12]} as its head")


def get_pull(repository: str, number: int, client: Client) -> PullRequest:
    """Return a pull request by its number."""
    return client.get(f"repos/{repository}/pulls/{number}", PullRequest)


def pull_of_run(repository: str, run: WorkflowRun, client: Client) -> PullRequest | None:
    """Return the open pull request whose head is the run's commit in the run's repository.

    The event lists pull requests from the same repository only, and may include pull requests of upstream
    repositories, so each number is looked up. Pull requests from forks are found by branch, then by commit.
    """
    home = run.head_repository
    for reference in run.pull_requests:
        try:
            pull = get_pull(repository, reference.number, client)
        except GitHubError as error:
            if error.status == 404:  # a number of another repository
                continue
            raise
        if _newest_open([pull], run.head_sha, home) is not None:
            return pull
    if home is not None and run.head_branch:
        query = {"state": "open", "head": f"{home.full_name.split('/')[0]}:{run.head_branch}"}
        by_branch = client.pages(f"repos/{repository}/pulls", PullRequest, query)
        newest = _newest_open(by_branch, run.head_sha, home)
        if newest is not None:
            return newest
    return _newest_open(_pulls_with_commit(repository, run.head_sha, client), run.head_sha, home)


def check_pull(pull: PullRequest, repository: str, run: WorkflowRun | None, sha: str | None) -> None:
    """Raise an error unless a result may be shown on this pull request.

    Parameters
    ----------
    pull : PullRequest
        Named by the user or by a file of the first stage, which an attacker may have written.
    run : WorkflowRun or None
        The first stage, as described by GitHub's event.
    sha : str or None
        The commit given on the command line.

    Raises
    ------
    ConfigError
        Its head is another commit than the run's, or lies in another repository.
    """
    if pull.base.repo is not None and not pull.base.repo.is_named(repository):
        raise ConfigError(f"Pull request {pull.number} is not in {repository}.")
    for name, expected in (("the run's commit", run.head_sha if run else None), ("--sha", sha)):
        if expected is not None and pull.head.sha != expected:
            raise ConfigError(
                f"Pull request {pull.number} has the head {pull.head.sha[:12]}; expected {name}, {expected[:12]}.",
                "It has a newer commit, or the number is wrong. Without --pr, the commit identifies the pull request.",
            )
    if run is not None and (run.head_repository is None or not _is_from(pull, run.head_repository)):
        raise ConfigError(
            f"The head of pull request {pull.number} is not in the repository that the run is from.",
            "Without --pr, the commit identifies the pull request.",
        )


def _pulls_with_commit(repository: str, sha: str, client: Client) -> Iterable[PullRequest]:
    return client.pages(f"repos/{repository}/commits/{sha}/pulls", PullRequest)


def _is_from(pull: PullRequest, home: Repository) -> bool:
    return pull.head.repo is not None and pull.head.repo.is_named(home.full_name)


def _newest_open(pulls: Iterable[PullRequest], sha: str, home: Repository | None = None) -> PullRequest | None:
    """Return the newest open pull request with this head commit (in this repository, where given)."""
    matching = [
        pull
        for pull in pulls
        if pull.state == "open" and pull.head.sha == sha and (home is None or _is_from(pull, home))
    ]
    return max(matching, key=lambda pull: pull.number, default=None)
