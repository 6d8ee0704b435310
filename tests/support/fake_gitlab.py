"""A fake of GitLab's API with state: users and the notes of one merge request (https://docs.gitlab.com/api/notes/)."""

from __future__ import annotations

import re
from typing import Any

from support.http_server import Answer, JsonServer, Request

TOKEN = "glpat-0123456789abcdefghij"
BOT = "project_7_bot"
NOTES = "/api/v4/projects/7/merge_requests/5/notes"


class FakeGitLab(JsonServer):
    """The state of the fake server."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[dict[str, Any]] = []
        self.status: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v4"

    def add(self, body: str, author: str = BOT) -> dict[str, Any]:
        note = {"id": 300 + len(self.notes), "body": body, "author": {"id": 1, "username": author}, "system": False}
        self.notes.append(note)
        return note

    def answer(self, request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Answer(401, {"message": "401 Unauthorized"})
        if self.status is not None:
            return Answer(self.status, {"message": "403 Forbidden"})
        route = (request.method, request.path)
        if route == ("GET", "/api/v4/user"):
            return Answer(200, {"id": 1, "username": BOT})
        if route == ("GET", NOTES):
            return self._list(request.query)
        if route == ("POST", NOTES) and request.body.get("body"):
            return Answer(201, self.add(request.body["body"]))
        match = re.fullmatch(rf"{NOTES}/(\d+)", request.path)
        for note in self.notes if match and request.method == "PUT" else []:
            if note["id"] == int(match[1]):  # type: ignore[index]
                note["body"] = request.body["body"]
                return Answer(200, note)
        return Answer(404, {"message": "404 Not found"})

    def _list(self, query: dict[str, str]) -> Answer:
        size, page = int(query.get("per_page", 20)), int(query.get("page", 1))
        notes = self.notes[::-1] if query.get("sort", "desc") == "desc" else self.notes
        more = page * size < len(notes)
        link = f'<{self.url}{NOTES.removeprefix("/api/v4")}?per_page={size}&page={page + 1}>; rel="next"'
        return Answer(200, notes[(page - 1) * size : page * size], {"link": link} if more else {})
