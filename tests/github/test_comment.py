"""One comment for each gate and pull request, whatever GitHub does in between."""

from __future__ import annotations

import pytest
from support.fake_github import HOME, Answer, FakeGitHub

from gate.errors import ConfigError
from gate.github.client import Client, GitHubError
from gate.github.comment import author, marker, post_comment

MARK = marker("nightly")


def post(client: Client, text: str = "new") -> str:
    return post_comment(client, HOME, 2, "nightly", f"{MARK}\n{text}").url


def bodies(github: FakeGitHub) -> list[str]:
    return [one["body"] for one in github.comments]


def test_the_first_comment_is_created_and_asks_nobody_who_we_are(client: Client, github: FakeGitHub) -> None:
    url = post(client)
    assert url == github.comments[0]["html_url"]
    assert bodies(github) == [f"{MARK}\nnew"]
    assert [request.method for request in github.requests] == ["GET", "POST"]


def test_the_second_run_updates_it_in_place(client: Client, github: FakeGitHub) -> None:
    first = post(client, "one")
    assert post(client, "two") == first
    assert bodies(github) == [f"{MARK}\ntwo"]


def test_a_comment_on_page_three_is_found(client: Client, github: FakeGitHub) -> None:
    for number in range(220):
        github.add_comment(f"review {number}", "octocat")
    mine = github.add_comment(f"{MARK}\nold")
    github.add_comment("thanks", "octocat")
    assert post(client) == mine["html_url"]
    assert mine["body"] == f"{MARK}\nnew"
    assert len(github.comments) == 222


def test_older_duplicates_of_our_own_are_removed(client: Client, github: FakeGitHub) -> None:
    github.add_comment(f"{MARK}\none")
    github.add_comment(f"{MARK}\ntwo")
    newest = github.add_comment(f"{MARK}\nthree")
    assert post(client) == newest["html_url"]
    assert bodies(github) == [f"{MARK}\nnew"]


def test_comments_of_others_and_of_other_gates_are_never_touched(client: Client, github: FakeGitHub) -> None:
    theirs = [
        github.add_comment(f"{MARK}\nI copied this from the bot", "octocat"),
        github.add_comment(f"> {MARK}\n> quoted by the bot itself in another workflow"),
        github.add_comment(f"see\n{MARK}"),
        github.add_comment(f"{marker('nightly-2')}\nanother gate"),
        github.add_comment(f"{marker('night')}\na third gate"),
        github.add_comment(f"{MARK}\nanother bot", "other-app[bot]"),
    ]
    before = [one["body"] for one in theirs]
    post(client)
    assert [one["body"] for one in theirs] == before
    assert len(github.comments) == 7
    assert github.sent("DELETE") == github.sent("PATCH") == []


def test_an_answer_that_is_lost_makes_no_second_comment(
    client: Client, github: FakeGitHub, waits: list[float]
) -> None:
    github.fail("POST", "comments", Answer(201, lost=True))
    url = post(client)
    assert bodies(github) == [f"{MARK}\nnew"]
    assert url == github.comments[0]["html_url"]
    assert len(github.sent("POST")) == 2  # the comment, and the question who we are
    assert len(waits) == 1


def test_a_502_after_which_there_is_no_comment_is_tried_again(client: Client, github: FakeGitHub) -> None:
    github.add_comment(f"{MARK}\ncopied", "octocat")
    github.fail("POST", "comments", Answer(502), Answer(502))
    post(client)
    assert bodies(github)[1:] == [f"{MARK}\nnew"]


def test_a_comment_removed_in_between_is_created_anew(client: Client, github: FakeGitHub) -> None:
    github.add_comment(f"{MARK}\nold")
    github.fail("PATCH", "comments", Answer(404, {"message": "Not Found"}))
    post(client)
    assert bodies(github)[-1] == f"{MARK}\nnew"
    assert len(github.sent("POST")) == 2


def test_a_duplicate_that_cannot_be_removed_is_a_warning(client: Client, github: FakeGitHub) -> None:
    github.add_comment(f"{MARK}\none")
    github.add_comment(f"{MARK}\ntwo")
    github.fail("DELETE", "comments", Answer(403, {"message": "Resource not accessible by integration"}))
    posted = post_comment(client, HOME, 2, "nightly", f"{MARK}\nnew")
    assert "could not be removed" in posted.warnings[0]


@pytest.mark.parametrize("status", [403, 404, 410, 422])
def test_a_refused_comment_is_one_error(client: Client, github: FakeGitHub, status: int) -> None:
    github.fail("POST", "comments", Answer(status, {"message": "no"}))
    with pytest.raises(GitHubError) as caught:
        post(client)
    assert caught.value.status == status
    assert github.comments == []


def test_who_writes(client: Client, github: FakeGitHub) -> None:
    """GraphQL tells; where it does not, `GET /user`; a workflow's own token may use neither."""
    github.login = "quantgate-app[bot]"
    assert author(client) == "quantgate-app[bot]"
    github.graphql = False
    assert author(client) == "github-actions[bot]"
    github.login = "release-owner"
    assert author(client) == "release-owner"


def test_another_apps_token_updates_its_own_comment(client: Client, github: FakeGitHub) -> None:
    github.login = "quantgate-app[bot]"
    post(client, "one")
    post(client, "two")
    assert bodies(github) == [f"{MARK}\ntwo"]


@pytest.mark.parametrize(
    "name", ["", "a b", "a-->b", "a--b", "-a", "a-", "a>", "ä", "a\n", "x" * 65, "a/b", "<!--"]
)
def test_a_name_that_could_close_the_marker_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="gate's name"):
        marker(name)


@pytest.mark.parametrize("name", ["quantgate", "a", "llama-3.1-8b_awq", "x" * 64])
def test_usual_names_are_taken(name: str) -> None:
    assert marker(name) == f"<!-- quantgate:{name} -->"
