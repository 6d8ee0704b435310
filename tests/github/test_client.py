"""The client against a real HTTP server: what is tried again, what is not, and where the token goes."""

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
SECONDARY = {
    "message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
}


def test_every_request_names_version_agent_and_token(client: Client, github: FakeGitHub) -> None:
    assert client.get(PULL, PullRequest).number == 2
    headers = github.requests[0].headers
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["x-github-api-version"] == "2022-11-28"
    assert headers["accept"].startswith("application/vnd.github+json")
    assert headers["user-agent"] == f"quantgate/{__version__}"


def test_enterprise_server_paths(github: FakeGitHub) -> None:
    with Client(f"{github.url}/api/v3", TOKEN) as one:
        one.get(PULL, PullRequest)
        one.graphql("query { viewer { login } }", dict[str, object])
    assert [request.path for request in github.requests] == [f"/api/v3/{PULL}", "/api/graphql"]


def test_502_twice_then_the_answer(client: Client, github: FakeGitHub, waits: list[float]) -> None:
    github.fail("GET", "pulls/2", Answer(502), Answer(502, {"message": "Server Error"}))
    assert client.get(PULL, PullRequest).number == 2
    assert 1.0 <= waits[0] <= 1.5
    assert 2.0 <= waits[1] <= 3.0


def test_a_server_that_stays_broken_is_given_up(
    client: Client, github: FakeGitHub, waits: list[float]
) -> None:
    github.fail("GET", "pulls/2", *[Answer(503)] * 20)
    with pytest.raises(GitHubError, match="HTTP 503"):
        client.get(PULL, PullRequest)
    assert len(github.requests) == 6
    assert sum(waits) < 60


def test_a_connection_that_breaks_is_tried_again(client: Client, github: FakeGitHub) -> None:
    github.fail("GET", "pulls/2", Answer(500, lost=True))
    assert client.get(PULL, PullRequest).number == 2


def test_nobody_listens() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with (
            Client(f"http://127.0.0.1:{held.getsockname()[1]}", TOKEN) as one,
            pytest.raises(GitHubError, match=r"no answer \(ConnectError\)") as caught,
        ):
            one.get(PULL, PullRequest)
    assert not caught.value.ambiguous


def test_429_waits_as_long_as_retry_after_says(
    client: Client, github: FakeGitHub, waits: list[float]
) -> None:
    github.fail("GET", "pulls/2", Answer(429, {"message": "Too many"}, {"retry-after": "7"}))
    client.get(PULL, PullRequest)
    assert waits == [7.0]


def test_a_primary_limit_waits_until_its_reset(github: FakeGitHub, waits: list[float]) -> None:
    limit = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1090"}
    github.fail("GET", "pulls/2", Answer(403, {"message": "API rate limit exceeded"}, limit))
    with Client(
        github.url, TOKEN, clock=lambda: 1000.0, waiting=lambda seconds, why: waits.append(seconds)
    ) as one:
        one.get(PULL, PullRequest)
    assert waits == [91.0]


def test_a_limit_that_ends_in_an_hour_is_not_waited_for(
    client: Client, github: FakeGitHub, waits: list[float]
) -> None:
    limit = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 3600)}
    github.fail("GET", "pulls/2", Answer(403, {"message": "API rate limit exceeded"}, limit))
    with pytest.raises(GitHubError, match="rate limit exceeded"):
        client.get(PULL, PullRequest)
    assert waits == []
    assert len(github.requests) == 1


def test_a_secondary_limit_without_a_header_waits_a_minute_then_two(
    client: Client, github: FakeGitHub, waits: list[float]
) -> None:
    github.fail("GET", "pulls/2", Answer(403, SECONDARY), Answer(403, SECONDARY))
    client.get(PULL, PullRequest)
    assert waits == [60.0, 120.0]


def test_all_waits_together_are_bounded(client: Client, github: FakeGitHub, waits: list[float]) -> None:
    github.fail("GET", "pulls/2", *[Answer(429, SECONDARY)] * 9)
    for _ in range(2):
        with pytest.raises(GitHubError, match="secondary rate limit"):
            client.get(PULL, PullRequest)
    assert waits == [
        60.0,
        120.0,
        60.0,
    ]  # of 300 s: the third wait would be 240, then 60 are left for the next call


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_refusals_are_not_tried_again(client: Client, github: FakeGitHub, status: int) -> None:
    github.fail("GET", "pulls/2", Answer(status, {"message": "No, because::error::x"}))
    with pytest.raises(
        GitHubError, match=f"GET /repos/{HOME}/pulls/2: HTTP {status}: No, because: :error: :x"
    ) as caught:
        client.get(PULL, PullRequest)
    assert caught.value.status == status
    assert len(github.requests) == 1


def test_a_post_that_could_double_is_not_repeated_after_an_ambiguous_failure(
    client: Client, github: FakeGitHub
) -> None:
    github.fail("POST", "comments", Answer(502))
    with pytest.raises(GitHubError) as caught:
        client.post(f"repos/{HOME}/issues/2/comments", {"body": "x"}, dict[str, object], repeatable=False)
    assert caught.value.ambiguous
    assert len(github.requests) == 1


def test_a_post_that_was_surely_not_carried_out_is_repeated(
    client: Client, github: FakeGitHub, waits: list[float]
) -> None:
    github.fail("POST", "comments", Answer(429, {}, {"retry-after": "3"}))
    client.post(f"repos/{HOME}/issues/2/comments", {"body": "x"}, dict[str, object], repeatable=False)
    assert waits == [3.0]
    assert len(github.comments) == 1


def test_pages_are_followed_to_the_end(client: Client, github: FakeGitHub) -> None:
    for number in range(250):
        github.add_comment(str(number))
    found = list(client.pages(f"repos/{HOME}/issues/2/comments", dict[str, object]))
    assert [one["body"] for one in found] == [str(number) for number in range(250)]
    assert [request.query.get("page") for request in github.requests] == [None, "2", "3"]


def test_a_next_page_on_another_host_is_refused(client: Client, github: FakeGitHub) -> None:
    with FakeGitHub() as other:
        link = {"link": f'<{other.url}/repos/a/b/issues/2/comments?page=2>; rel="next"'}
        github.fail("GET", "comments", Answer(200, [], link))
        with pytest.raises(GitHubError, match="another host"):
            list(client.pages(f"repos/{HOME}/issues/2/comments", dict[str, object]))
        assert other.requests == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_renamed_repository_is_followed_with_the_same_method(
    client: Client, github: FakeGitHub, status: int
) -> None:
    github.fail(
        "POST", "repos/.*comments", Answer(status, {}, {"location": "/repositories/1/issues/2/comments"})
    )
    client.post(f"repos/{HOME}/issues/2/comments", {"body": "x"}, dict[str, object], repeatable=False)
    assert [one["body"] for one in github.comments] == ["x"]


def test_a_redirect_to_another_host_never_gets_the_token(client: Client, github: FakeGitHub) -> None:
    with FakeGitHub() as other:
        github.fail("GET", "pulls/2", Answer(302, {}, {"location": f"{other.url}/{PULL}"}))
        with pytest.raises(GitHubError, match="another host"):
            client.get(PULL, PullRequest)
        assert other.requests == []


def test_redirects_in_a_circle_end(client: Client, github: FakeGitHub) -> None:
    github.fail("GET", "pulls/2", *[Answer(302, {}, {"location": f"/{PULL}"})] * 9)
    with pytest.raises(GitHubError, match="HTTP 302"):
        client.get(PULL, PullRequest)


@pytest.mark.parametrize("body", [{"number": "x"}, [], "no", None, {**pull(), "number": -1}])
def test_an_answer_of_another_shape_is_an_error_that_names_the_place(
    client: Client, github: FakeGitHub, body: object
) -> None:
    github.fail("GET", "pulls/2", Answer(200, body))
    with pytest.raises(GitHubError, match="not the answer expected"):
        client.get(PULL, PullRequest)


def test_the_token_is_in_no_error_and_no_repr(client: Client, github: FakeGitHub) -> None:
    github.fail("GET", "pulls/2", Answer(403, {"message": f"Bad token {TOKEN}"}))
    assert TOKEN not in repr(client)
    with pytest.raises(GitHubError) as caught:
        client.get(PULL, PullRequest)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    assert "Bad token ***" in str(caught.value)


@pytest.mark.parametrize("token", ["", " ", "ghs_abc\nX-Evil: 1", "ghs abc", "ghs_é"])
def test_a_token_that_is_none_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(GitHubError) as caught:
        Client("https://api.github.com", token)
    assert "ghs" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "api.github.com", "ftp://x", "https://", "https://u:p@host", "https://h/?q=1", "https://h:x"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(GitHubError, match="GITHUB_API_URL"):
        Client(url, TOKEN)
