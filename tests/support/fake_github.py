"""A fake of GitHub's API with state: an HTTP server in a thread."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from support.http_server import Answer, JsonServer, Request

TOKEN = "ghs_0123456789abcdefTOKENTOKENTOKENTOKEN"
HOME = "Codertocat/Hello-World"
HEAD = "ec26c3e57ca3a959ca5aad62de7213c562f8c821"
BOT = "github-actions[bot]"


def pull(number: int = 2, sha: str = HEAD, home: str = HOME, ref: str = "changes", **more: Any) -> dict[str, Any]:
    """Return a pull request in GitHub's form, with the fields that the client reads."""
    return {
        "number": number,
        "state": "open",
        "head": {"ref": ref, "sha": sha, "repo": {"full_name": home}},
        "base": {"ref": "main", "sha": "f" * 40, "repo": {"full_name": HOME}},
        **more,
    }


class FakeGitHub(JsonServer):
    """The state of the fake server and its scripted responses."""

    def __init__(self) -> None:
        super().__init__()
        self.login = BOT
        self.pulls: list[dict[str, Any]] = [pull()]
        self.comments: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.checks: list[dict[str, Any]] = []
        self.scripted: list[tuple[str, str, Answer]] = []
        self.graphql = True
        self._next = 1000

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fail(self, method: str, path: str, *answers: Answer) -> None:
        """Script the responses to the next requests with a method and a path that contains the pattern `path`."""
        self.scripted += [(method, path, answer) for answer in answers]

    def add_comment(self, body: str, login: str = BOT) -> dict[str, Any]:
        self._next += 1
        comment = {
            "id": self._next,
            "html_url": f"https://github.com/{HOME}/pull/2#issuecomment-{self._next}",
            "body": body,
            "user": {"login": login},
        }
        self.comments.append(comment)
        return comment

    def sent(self, method: str) -> list[str]:
        return [request.path for request in self.requests if request.method == method]

    def answer(self, request: Request) -> Answer:
        for entry in self.scripted:
            method, path, answer = entry
            if method == request.method and re.search(path, request.path):
                self.scripted.remove(entry)
                if answer.lost and answer.status < 400:
                    self.respond(request)
                return answer
        return self.respond(request)

    def respond(self, request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Answer(401, {"message": "Bad credentials"})
        path = re.sub(r"^(/api/v3)?/(repositories/1|repos/[^/]+/[^/]+)/", "", request.path)
        routes: list[tuple[str, str, Callable[..., Answer]]] = [
            ("GET", r"issues/(\d+)/comments", self._list),
            ("POST", r"issues/(\d+)/comments", self._post),
            ("PATCH", r"issues/comments/(\d+)", self._patch),
            ("DELETE", r"issues/comments/(\d+)", self._delete),
            ("GET", r"pulls/(\d+)", self._pull),
            ("GET", r"pulls", self._pulls),
            ("GET", r"commits/([0-9a-f]+)/pulls", self._of_commit),
            ("POST", r"statuses/([0-9a-f]+)", self._status),
            ("GET", r"commits/([0-9a-f]+)/check-runs", self._checks_of_commit),
            ("POST", r"check-runs", self._check),
            ("PATCH", r"check-runs/(\d+)", self._change_check),
            ("POST", r"(?:/api)?/graphql", self._viewer),
            ("GET", r"(?:/api/v3)?/user", self._user),
        ]
        for method, pattern, route in routes:
            match = re.fullmatch(pattern, path)
            if match and method == request.method:
                return route(request, *match.groups())
        return Answer(404, {"message": "Not Found"})

    def _list(self, request: Request, number: str) -> Answer:
        size, page = int(request.query.get("per_page", 30)), int(request.query.get("page", 1))
        more = page * size < len(self.comments)
        link = f'<{self.url}{request.path}?per_page={size}&page={page + 1}>; rel="next"'
        return Answer(200, self.comments[(page - 1) * size : page * size], {"link": link} if more else {})

    def _post(self, request: Request, number: str) -> Answer:
        if number not in {str(candidate["number"]) for candidate in self.pulls}:
            return Answer(404, {"message": "Not Found"})
        if len(request.body["body"]) > 65_536:
            return Answer(422, {"message": "Validation Failed"})
        return Answer(201, self.add_comment(request.body["body"], self.login))

    def _patch(self, request: Request, number: str) -> Answer:
        for comment in self.comments:
            if comment["id"] == int(number):
                comment["body"] = request.body["body"]
                return Answer(200, comment)
        return Answer(404, {"message": "Not Found"})

    def _delete(self, request: Request, number: str) -> Answer:
        others = [comment for comment in self.comments if comment["id"] != int(number)]
        existed = len(others) < len(self.comments)
        self.comments = others
        return Answer(204) if existed else Answer(404, {"message": "Not Found"})

    def _pull(self, request: Request, number: str) -> Answer:
        for candidate in self.pulls:
            if candidate["number"] == int(number):
                return Answer(200, candidate)
        return Answer(404, {"message": "Not Found"})

    def _pulls(self, request: Request) -> Answer:
        owner, _, ref = request.query["head"].partition(":")
        matches = [
            candidate
            for candidate in self.pulls
            if candidate["state"] == "open"
            and candidate["head"]["ref"] == ref
            and (candidate["head"]["repo"] or {"full_name": "/"})["full_name"].split("/")[0] == owner
        ]
        return Answer(200, matches)

    def _of_commit(self, request: Request, sha: str) -> Answer:
        return Answer(200, [one for one in self.pulls if one["head"]["sha"] == sha])

    def _status(self, request: Request, sha: str) -> Answer:
        if len(request.body["description"]) > 140:
            return Answer(422, {"message": "Validation Failed"})
        self.statuses.append({"sha": sha, **request.body})
        return Answer(201, request.body)

    def _checks_of_commit(self, request: Request, sha: str) -> Answer:
        name = request.query["check_name"]
        found = [check for check in self.checks if (check["head_sha"], check["name"]) == (sha, name)]
        return Answer(200, {"total_count": len(found), "check_runs": found})

    def _check(self, request: Request) -> Answer:
        if len(request.body["output"]["summary"]) > 65_535:
            return Answer(422, {"message": "Validation Failed"})
        self._next += 1
        self.checks.append({"id": self._next, **request.body})
        return Answer(201, self.checks[-1])

    def _change_check(self, request: Request, number: str) -> Answer:
        for check in self.checks:
            if check["id"] == int(number):
                check |= request.body
                return Answer(200, check)
        return Answer(404, {"message": "Not Found"})

    def _viewer(self, request: Request) -> Answer:
        if not self.graphql:
            return Answer(200, {"data": None, "errors": [{"message": "no"}]})
        return Answer(200, {"data": {"viewer": {"login": self.login}}})

    def _user(self, request: Request) -> Answer:
        if self.login.endswith("[bot]"):
            return Answer(403, {"message": "Resource not accessible by integration"})
        return Answer(200, {"login": self.login})
