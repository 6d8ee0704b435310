"""Local HTTP servers in a thread: answers that one function writes, and JSON APIs with state."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

Write = Callable[[BaseHTTPRequestHandler, bytes], None]
"""Writes the answer to a request with the given body."""


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    lost: bool = False
    """Whether the connection ends before the response; a request with a status below 400 is still carried out."""


@contextmanager
def serve_answers(write: Write, protocol: str = "HTTP/1.0") -> Iterator[str]:
    """Serve on a free port, and yield the base URL of its OpenAI API."""
    with _serve(write, protocol) as port:
        yield f"http://127.0.0.1:{port}/v1"


def write_json(
    handler: BaseHTTPRequestHandler, status: int, body: Any, headers: Mapping[str, str] | None = None
) -> None:
    """Write a response whose content is JSON, or empty where the body is None."""
    content = b"" if body is None else json.dumps(body).encode()
    handler.send_response(status)
    handler.send_header("content-type", "application/json; charset=utf-8")
    handler.send_header("content-length", str(len(content)))
    for key, value in (headers or {}).items():
        handler.send_header(key, value)
    handler.end_headers()
    handler.wfile.write(content)


class JsonServer:
    """An HTTP API with state. `answer` gives the response to a request; `requests` are those received.

    It is a context manager, and has a `port` within it.
    """

    port: int

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._running = ExitStack()

    def __enter__(self) -> Self:
        self.port = self._running.enter_context(_serve(self._write, "HTTP/1.1"))
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def answer(self, request: Request) -> Answer:
        raise NotImplementedError

    def _write(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        parts = urlsplit(handler.path)
        headers = {key.lower(): value for key, value in handler.headers.items()}
        request = Request(
            handler.command, parts.path, dict(parse_qsl(parts.query)), headers, json.loads(body) if body else None
        )
        self.requests.append(request)
        answer = self.answer(request)
        if answer.lost:
            handler.close_connection = True
            return
        write_json(handler, answer.status, answer.body, answer.headers)


@contextmanager
def _serve(write: Write, protocol: str) -> Iterator[int]:
    """Serve on a free port, and yield it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = protocol

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:  # the client went away
                self.close_connection = True

        def do_GET(self) -> None:
            write(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
