"""A fake of GitLab's API with state: users and the notes of one merge request (https://docs.gitlab.com/api/notes/)."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

TOKEN = "glpat-0123456789abcdefghij"
BOT = "project_7_bot"
NOTES = "/api/v4/projects/7/merge_requests/5/notes"


class FakeGitLab:
    """The state of the fake server, and the requests (method, path) that it received."""

    def __init__(self) -> None:
        self.notes: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str]] = []
        self.status: int | None = None
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                parts = urlsplit(self.path)
                fake.requests.append((self.command, parts.path))
                status, data, link = fake.respond(
                    self.command, parts.path, dict(parse_qsl(parts.query)), json.loads(body) if body else {},
                    self.headers.get("authorization"),
                )  # fmt: skip
                text = json.dumps(data).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                if link:
                    self.send_header("link", f'<{fake.url}{link}>; rel="next"')
                self.end_headers()
                self.wfile.write(text)

            do_POST = do_PUT = do_GET  # noqa: N815

            def log_message(self, *args: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/api/v4"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, body: str, author: str = BOT) -> dict[str, Any]:
        note = {"id": 300 + len(self.notes), "body": body, "author": {"id": 1, "username": author}, "system": False}
        self.notes.append(note)
        return note

    def respond(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any], authorization: str | None
    ) -> tuple[int, Any, str]:
        if authorization != f"Bearer {TOKEN}":
            return 401, {"message": "401 Unauthorized"}, ""
        if self.status is not None:
            return self.status, {"message": "403 Forbidden"}, ""
        if (method, path) == ("GET", "/api/v4/user"):
            return 200, {"id": 1, "username": BOT}, ""
        if (method, path) == ("GET", NOTES):
            size, page = int(query.get("per_page", 20)), int(query.get("page", 1))
            notes = self.notes[::-1] if query.get("sort", "desc") == "desc" else self.notes
            more = page * size < len(notes)
            following = NOTES.removeprefix("/api/v4") + f"?per_page={size}&page={page + 1}"
            return 200, notes[(page - 1) * size : page * size], following if more else ""
        if (method, path) == ("POST", NOTES) and body.get("body"):
            return 201, self.add(body["body"]), ""
        match = re.fullmatch(rf"{NOTES}/(\d+)", path)
        for note in self.notes if match and method == "PUT" else []:
            if note["id"] == int(match[1]):  # type: ignore[index]
                note["body"] = body["body"]
                return 200, note, ""
        return 404, {"message": "404 Not found"}, ""
