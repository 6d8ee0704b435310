"""One comment per gate and pull request, despite lost responses and errors of GitHub."""

from __future__ import annotations

import pytest
from support.fake_github import HOME, Answer, FakeGitHub

from gate.errors import ConfigError
from gate.github.client import Client, GitHubError
from gate.github.comment import author, marker, post_comment

MARK = marker("nightly")


def post(client: Client, text: str = "new") -> str:
    return post_comment(client, HOME, 2, "nightly", f"{MARK}\n{text}", pytest.fail)


def bodies(github: FakeGitHub) -> list[str]:
    return [comment["body"] for comment in github.comments]


def test_first_comment_is_created_without_looking_up_the_author(client: Client, github: FakeGitHub) -> None:
    url = post(client)
    assert url == github.comments[0]["html_url"]
    assert bodies(github) == [f"{MARK}\nnew"]
    assert [request.method for request in github.requests] == ["GET", "POST"]


def test_second_run_updates_the_comment_in_place(client: Client, github: FakeGitHub) -> None:
    first = post(client, "one")
    assert post(client, "two") == first
    assert bodies(github) == [f"{MARK}\ntwo"]


def test_comment_on_page_three_is_found(client: Client, github: FakeGitHub) -> None:
    for number in range(220):
        github.add_comment(f"review {number}", "octocat")
    own = github.add_comment(f"{MARK}\nold")
    github.add_comment("thanks", "octocat")
    assert post(client) == own["html_url"]
    assert own["body"] == f"{MARK}\nnew"
    assert len(github.comments) == 222


def test_older_duplicates_are_deleted(client: Client, github: FakeGitHub) -> None:
    github.add_comment(f"{MARK}\none")
    github.add_comment(f"{MARK}\ntwo")
    newest = github.add_comment(f"{MARK}\nthree")
    assert post(client) == newest["html_url"]
    assert bodies(github) == [f"{MARK}\nnew"]


def test_comments_of_others_and_of_other_gates_are_never_changed(client: Client, github: FakeGitHub) -> None:
    others = [
        github.add_comment(f"{MARK}\nI copied this from the bot", "octocat"),
        github.add_comment(f"> {MARK}\n> quoted by the bot itself in another workflow"),
        github.add_comment(f"see\n{MARK}"),
        github.add_comment(f"{marker('nightly-2')}\nanother gate"),
        github.add_comment(f"{marker('night')}\na third gate"),
        github.add_comment(f"{MARK}\nanother bot", "other-app[bot]"),
    ]
    before = [comment["body"] for comment in others]
    post(client)
    assert [comment["body"] for comment in others] == before
    assert len(github.comments) == 7
    assert github.sent("DELETE") == github.sent("PATCH") == []


def test_lost_response_does_not_create_a_second_comment(client: Client, github: FakeGitHub, waits: list[float]) -> None:
    github.fail("POST", "comments", Answer(201, lost=True))
    url = post(client)
    assert bodies(github) == [f"{MARK}\nnew"]
    assert url == github.comments[0]["html_url"]
    assert len(github.sent("POST")) == 2  # the comment, and the query for the author
    assert len(waits) == 1


def test_502_without_a_comment_is_retried(client: Client, github: FakeGitHub) -> None:
    github.add_comment(f"{MARK}\ncopied", "octocat")
    github.fail("POST", "comments", Answer(502), Answer(502))
    post(client)
    assert bodies(github)[1:] == [f"{MARK}\nnew"]


def test_comment_deleted_meanwhile_is_created_again(client: Client, github: FakeGitHub) -> None:
    github.add_comment(f"{MARK}\nold")
    github.fail("PATCH", "comments", Answer(404, {"message": "Not Found"}))
    post(client)
    assert bodies(github)[-1] == f"{MARK}\nnew"
    assert len(github.sent("POST")) == 2


def test_undeletable_duplicate_is_a_warning(client: Client, github: FakeGitHub) -> None:
    github.add_comment(f"{MARK}\none")
    github.add_comment(f"{MARK}\ntwo")
    github.fail("DELETE", "comments", Answer(403, {"message": "Resource not accessible by integration"}))
    warnings: list[str] = []
    post_comment(client, HOME, 2, "nightly", f"{MARK}\nnew", warnings.append)
    assert "could not be removed" in warnings[0]


@pytest.mark.parametrize("status", [403, 404, 410, 422])
def test_refused_comment_is_an_error(client: Client, github: FakeGitHub, status: int) -> None:
    github.fail("POST", "comments", Answer(status, {"message": "no"}))
    with pytest.raises(GitHubError) as caught:
        post(client)
    assert caught.value.status == status
    assert github.comments == []


def test_author_of_each_kind_of_token(client: Client, github: FakeGitHub) -> None:
    """GraphQL answers first, then `GET /user`; a workflow's own token may be refused by both."""
    github.login = "quantgate-app[bot]"
    assert author(client) == "quantgate-app[bot]"
    github.graphql = False
    assert author(client) == "github-actions[bot]"
    github.login = "release-owner"
    assert author(client) == "release-owner"


def test_token_of_an_app_updates_its_own_comment(client: Client, github: FakeGitHub) -> None:
    github.login = "quantgate-app[bot]"
    post(client, "one")
    post(client, "two")
    assert bodies(github) == [f"{MARK}\ntwo"]


@pytest.mark.parametrize("name", ["", "a b", "a-->b", "a--b", "-a", "a-", "a>", "ä", "a\n", "x" * 65, "a/b", "<!--"])
def test_name_that_could_close_the_marker_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="gate's name"):
        marker(name)


@pytest.mark.parametrize("name", ["quantgate", "a", "llama-3.1-8b_awq", "x" * 64])
def test_common_names_are_accepted(name: str) -> None:
    assert marker(name) == f"<!-- quantgate:{name} -->"
