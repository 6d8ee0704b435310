"""Servers that answer without an end, with a compression bomb, with deep JSON, or with the key in a redirect."""

from __future__ import annotations

import zlib
from http.server import BaseHTTPRequestHandler

import pytest
from support.fake_vllm import NAME
from support.http_server import Write, serve_answers
from support.opened import silent
from support.served import open_served

from gate.common.http import MAX_REPLY
from gate.errors import EvaluationError, GateError

KEY = "sk-do-not-tell-1234567890"


def _bomb(size: int) -> bytes:
    compress = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(compress.compress(bytes(1 << 20)) for _ in range(size >> 20)) + compress.flush()


def _gzip(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    body = _bomb(MAX_REPLY + (8 << 20))
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def _endless(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * (1 << 20))


def _deep(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(b"[" * 1_000_000)


def _redirect(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    handler.send_response(307)
    handler.send_header("Location", f"http://127.0.0.1:9/?key={handler.headers['Authorization'].split()[1]}")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@pytest.mark.parametrize(
    ("answer", "message"),
    [(_gzip, "more than 256 MiB"), (_endless, "more than 256 MiB"), (_deep, "not with JSON")],
    ids=["compression bomb", "endless", "deep JSON"],
)
def test_oversized_answer_is_an_evaluation_error(answer: Write, message: str) -> None:
    with serve_answers(answer) as url, pytest.raises(EvaluationError, match=message):
        open_served(url, NAME).generate_until([], silent)


def test_redirect_does_not_show_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serve_answers(_redirect) as url, pytest.raises(GateError) as caught:
        open_served(url, NAME).generate_until([], silent)
    assert "redirects" in str(caught.value)
    assert KEY not in str(caught.value)
    assert "***" in str(caught.value)
