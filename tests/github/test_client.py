"""The GitHub client against a real HTTP server: retries, redirects, pagination, and where the token is sent."""

from __future__ import annotations

import socket
import time
import traceback

import pytest
from support.fake_github import HOME, TOKEN, Answer, FakeGitHub, pull

from gate import __version__
from gate.github.client import Client, GitHubError
from gate.github.context import PullRequest

PULL = f"repos/{HOME}/pulls/2"
SECONDARY = {"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}


def test_requests_have_the_api_version_the_user_agent_and_the_token(client: Client, github: FakeGitHub) -> None:
    assert client.get(PULL, PullRequest).number == 2
    headers = github.requests[0].headers
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["x-github-api-version"] == "2022-11-28"
    assert headers["accept"].startswith("application/vnd.github+json")
    assert headers["user-agent"] == f"quantgate/{__version__}"


def test_enterprise_server_paths(github: FakeGitHub) -> None:
    with Client(f"{github.url}/api/v3", TOKEN) as client:
        client.get(PULL, PullRequest)
        client.graphql("query { viewer { login } }", dict[str, object])
    assert [request.path for request in github.requests] == [f"/api/v3/{PULL}", "/api/graphql"]


def test_server_errors_are_retried_with_exponential_backoff(
    client: Client, github: FakeGitHub, waits: list[float]
) -> None:
    github.fail("GET", "pulls/2", Answer(502), Answer(502, {"message": "Server Error"}))
    assert client.get(PULL, PullRequest).number == 2
    assert 1.0 <= waits[0] <= 1.5
    assert 2.0 <= waits[1] <= 3.0


def test_persistent_server_errors_are_raised_after_six_attempts(
    client: Client, github: FakeGitHub, waits: list[float]
) -> None:
    github.fail("GET", "pulls/2", *[Answer(503)] * 20)
    with pytest.raises(GitHubError, match="HTTP 503"):
        client.get(PULL, PullRequest)
    assert len(github.requests) == 6
    assert sum(waits) < 60


def test_a_broken_connection_is_retried(client: Client, github: FakeGitHub) -> None:
    github.fail("GET", "pulls/2", Answer(500, lost=True))
    assert client.get(PULL, PullRequest).number == 2


def test_a_refused_connection_is_an_unambiguous_error() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with (
            Client(f"http://127.0.0.1:{bound.getsockname()[1]}", TOKEN) as client,
            pytest.raises(GitHubError, match=r"no response \(ConnectError\)") as caught,
        ):
            client.get(PULL, PullRequest)
    assert not caught.value.ambiguous
    hint = "Check the runner's network and the server's status (https://www.githubstatus.com), then rerun the job."
    assert caught.value.hint == hint


def test_a_429_waits_as_long_as_retry_after_says(client: Client, github: FakeGitHub, waits: list[float]) -> None:
    github.fail("GET", "pulls/2", Answer(429, {"message": "Too many"}, {"retry-after": "7"}))
    client.get(PULL, PullRequest)
    assert waits == [7.0]


def test_a_primary_rate_limit_waits_until_its_reset(github: FakeGitHub, waits: list[float]) -> None:
    limit = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1090"}
    github.fail("GET", "pulls/2", Answer(403, {"message": "API rate limit exceeded"}, limit))
    with Client(github.url, TOKEN, clock=lambda: 1000.0, waiting=lambda seconds, why: waits.append(seconds)) as client:
        client.get(PULL, PullRequest)
    assert waits == [91.0]


def test_a_rate_limit_that_lasts_an_hour_is_raised_without_waiting(
    client: Client, github: FakeGitHub, waits: list[float]
) -> None:
    limit = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 3600)}
    github.fail("GET", "pulls/2", Answer(403, {"message": "API rate limit exceeded"}, limit))
    with pytest.raises(GitHubError, match="rate limit exceeded"):
        client.get(PULL, PullRequest)
    assert waits == []
    assert len(github.requests) == 1


def test_a_secondary_rate_limit_without_a_header_waits_one_minute_then_two(
    client: Client, github: FakeGitHub, waits: list[float]
) -> None:
    github.fail("GET", "pulls/2", Answer(403, SECONDARY), Answer(403, SECONDARY))
    client.get(PULL, PullRequest)
    assert waits == [60.0, 120.0]


def test_the_sum_of_all_waits_is_bounded(client: Client, github: FakeGitHub, waits: list[float]) -> None:
    github.fail("GET", "pulls/2", *[Answer(429, SECONDARY)] * 9)
    for _ in range(2):
        with pytest.raises(GitHubError, match="secondary rate limit"):
            client.get(PULL, PullRequest)
    # the third wait of the first call would be 240 s, but the budget of 300 s has only 120 s left
    assert waits == [60.0, 120.0, 60.0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_refusals_are_not_retried(client: Client, github: FakeGitHub, status: int) -> None:
    github.fail("GET", "pulls/2", Answer(status, {"message": "No, because::error::x"}))
    with pytest.raises(
        GitHubError, match=f"GET /repos/{HOME}/pulls/2: HTTP {status}: No, because: :error: :x"
    ) as caught:
        client.get(PULL, PullRequest)
    assert caught.value.status == status
    assert len(github.requests) == 1


def test_an_unrepeatable_post_is_not_retried_after_an_ambiguous_failure(client: Client, github: FakeGitHub) -> None:
    github.fail("POST", "comments", Answer(502))
    with pytest.raises(GitHubError) as caught:
        client.post(f"repos/{HOME}/issues/2/comments", {"body": "x"}, dict[str, object], repeatable=False)
    assert caught.value.ambiguous
    assert len(github.requests) == 1


def test_an_unrepeatable_post_is_retried_if_it_was_not_carried_out(
    client: Client, github: FakeGitHub, waits: list[float]
) -> None:
    github.fail("POST", "comments", Answer(429, {}, {"retry-after": "3"}))
    client.post(f"repos/{HOME}/issues/2/comments", {"body": "x"}, dict[str, object], repeatable=False)
    assert waits == [3.0]
    assert len(github.comments) == 1


def test_all_pages_of_a_list_are_returned(client: Client, github: FakeGitHub) -> None:
    for number in range(250):
        github.add_comment(str(number))
    comments = list(client.pages(f"repos/{HOME}/issues/2/comments", dict[str, object]))
    assert [comment["body"] for comment in comments] == [str(number) for number in range(250)]
    assert [request.query.get("page") for request in github.requests] == [None, "2", "3"]


def test_a_next_page_on_another_host_is_refused(client: Client, github: FakeGitHub) -> None:
    with FakeGitHub() as other:
        link = {"link": f'<{other.url}/repos/a/b/issues/2/comments?page=2>; rel="next"'}
        github.fail("GET", "comments", Answer(200, [], link))
        with pytest.raises(
            GitHubError,
            match=f"GitHub's response links to {other.url}, not {github.url}; the token is not sent",
        ):
            list(client.pages(f"repos/{HOME}/issues/2/comments", dict[str, object]))
        assert other.requests == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_within_the_host_keeps_the_method(client: Client, github: FakeGitHub, status: int) -> None:
    github.fail("POST", "repos/.*comments", Answer(status, {}, {"location": "/repositories/1/issues/2/comments"}))
    client.post(f"repos/{HOME}/issues/2/comments", {"body": "x"}, dict[str, object], repeatable=False)
    assert [comment["body"] for comment in github.comments] == ["x"]


def test_a_redirect_to_another_host_is_refused(client: Client, github: FakeGitHub) -> None:
    with FakeGitHub() as other:
        github.fail("GET", "pulls/2", Answer(302, {}, {"location": f"{other.url}/{PULL}"}))
        with pytest.raises(
            GitHubError,
            match=f"GitHub's response links to {other.url}, not {github.url}; the token is not sent",
        ):
            client.get(PULL, PullRequest)
        assert other.requests == []


def test_a_redirect_loop_ends_with_an_error(client: Client, github: FakeGitHub) -> None:
    github.fail("GET", "pulls/2", *[Answer(302, {}, {"location": f"/{PULL}"})] * 9)
    with pytest.raises(GitHubError, match="HTTP 302"):
        client.get(PULL, PullRequest)


@pytest.mark.parametrize("body", [{"number": "x"}, [], "no", None, {**pull(), "number": -1}])
def test_an_unexpected_response_is_an_error(client: Client, github: FakeGitHub, body: object) -> None:
    github.fail("GET", "pulls/2", Answer(200, body))
    with pytest.raises(GitHubError, match="unexpected response"):
        client.get(PULL, PullRequest)


def test_errors_and_repr_do_not_show_the_token(client: Client, github: FakeGitHub) -> None:
    github.fail("GET", "pulls/2", Answer(403, {"message": f"Bad token {TOKEN}"}))
    assert TOKEN not in repr(client)
    with pytest.raises(GitHubError) as caught:
        client.get(PULL, PullRequest)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    assert "Bad token ***" in str(caught.value)


@pytest.mark.parametrize("token", ["", " ", "ghs_abc\nX-Evil: 1", "ghs abc", "ghs_é"])
def test_an_invalid_token_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(GitHubError) as caught:
        Client("https://api.github.com", token)
    assert "ghs" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "api.github.com", "ftp://x", "https://", "https://u:p@host", "https://h/?q=1", "https://h:x"]
)
def test_an_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(GitHubError, match="GITHUB_API_URL"):
        Client(url, TOKEN)


def test_a_token_at_the_end_of_a_shortened_explanation_is_hidden(client: Client, github: FakeGitHub) -> None:
    github.fail("GET", "pulls/2", Answer(403, {"message": "x" * 280 + TOKEN}))
    with pytest.raises(GitHubError) as caught:
        client.get(PULL, PullRequest)
    assert TOKEN[:8] not in str(caught.value)
