"""A model server whose answers are mutated: seeded random JSON, bytes, status codes and headers.

The answers are those of vLLM (see `support.fake_vllm`) or of llama.cpp, before mutation.
"""

from __future__ import annotations

import copy
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal

from support.fake_vllm import NAME, FakeVllm
from support.http_server import serve_answers

Kind = Literal["vllm", "llama.cpp"]
_VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 3, 0.5, -0.5, 5.0, 1e308, -1e308, 10**30, -(2**63), 2**31, 2**63, 2**64, float("nan"),
    float("inf"), float("-inf"), 1e-300, "", "x", "NaN", "\ud800", "\0", "x" * 3000, "token_id:3", "token_id:" + "9" * 5000,
    "token_id:-1", "::error::x\x1b[2J", [], {}, [[]], [None], [1, "x"], {"": None}, {"a": {"b": [1]}}, [float("nan")] * 3,
    [0] * 2000,
]  # fmt: skip
_VLLM = ("/version", "/tokenize")
_LLAMA = ("/props", "/tokenize", "/apply-template", "/completion")
_STATUSES = (
    200,
    200,
    200,
    204,
    206,
    301,
    307,
    400,
    401,
    403,
    404,
    405,
    413,
    422,
    429,
    500,
    501,
    502,
    503,
    504,
    599,
    999,
)
_HEADERS = (
    ("Retry-After", "-1"), ("Retry-After", "9" * 400), ("Retry-After", "nan"), ("Retry-After", "Tue, 99 Foo"),
    ("Location", "::error::\x1b"), ("Location", "http://[::1"), ("Content-Encoding", "gzip"), ("Content-Encoding", "br"),
    ("Content-Type", "text/html; charset=utf-7"), ("Content-Type", "application/json; charset=nonsense"), ("X", "\x85"),
)  # fmt: skip


class Mutant:
    """A server's answers, mutated by one seed.

    Parameters
    ----------
    model : FakeVllm
        Answers before mutation.
    kind : {"vllm", "llama.cpp"}
    seed : int
    rate : float
        Probability that an answer is mutated. Some servers answer only one route wrongly, drawn by the seed.
    """

    def __init__(self, model: FakeVllm, kind: Kind, seed: int, rate: float) -> None:
        self._model, self._kind = model, kind
        self._draw = random.Random(f"{kind} {seed}")
        self._rate = rate
        self._route = self._draw.choice((None, None, "/v1/completions", *(_LLAMA if kind == "llama.cpp" else _VLLM)))
        self._lock = threading.Lock()
        self.mutated = 0
        self.log: list[str] = []

    def answer(self, route: str, body: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes, int]:
        """Return status, headers, content, and how much the announced length differs from the content's."""
        try:
            status, value = (self._model.answer if self._kind == "vllm" else self._llama)(route, body)
        except (IndexError, KeyError, OverflowError, RuntimeError, TypeError) as error:  # what an answer made up
            status, value = 400, {"error": {"message": str(error)}}
        with self._lock:
            if self._draw.random() >= self._rate or self._route not in (None, route):
                return status, [], json.dumps(value).encode(), 0
            self.mutated += 1
            headers: list[tuple[str, str]] = []
            shift = 0
            kind = self._draw.choices(("value", "bytes", "status", "header", "length"), (12, 4, 2, 1, 1))[0]
            for _ in range(self._draw.choice((1, 1, 1, 2, 5)) if kind == "value" else 0):
                value = self._changed(copy.deepcopy(value))
            content = json.dumps(value).encode()
            if kind == "bytes":
                content = self._broken(content)
            elif kind == "status":
                status = self._draw.choice(_STATUSES)
            elif kind == "header":
                headers.append(self._draw.choice(_HEADERS))
                status = self._draw.choice((status, 307, 429, 503))
            elif kind == "length":
                shift = self._draw.choice((-5, 7))
            self.log.append(f"{route} {kind} {status} {headers} {content[:300]!r}")
            return status, headers, content, shift

    def _llama(self, route: str, body: dict[str, Any]) -> tuple[int, Any]:
        if route == "/props":
            settings = {"n_ctx": 256}
            return 200, {
                "default_generation_settings": settings,
                "total_slots": 2,
                "build_info": "b1",
                "bos_token": "<s>",
            }
        if route == "/tokenize":
            return 200, {"tokens": self._model.tokenizer(body["content"], add_special_tokens=False)["input_ids"]}
        if route == "/apply-template":
            return 200, {"prompt": "user: x"}
        if route == "/completion":
            row = self._model.logprobs(body["prompt"] or [0])[-1]
            best = [
                {"id": number, "token": "x", "logprob": float(row[number])} for number in row.topk(64).indices.tolist()
            ]
            forced = body.get("logit_bias", [[best[0]["id"]]])[0][0]
            own = {"id": forced, "token": "x", "logprob": float(row[forced])}
            return 200, {"completion_probabilities": [{**own, "top_logprobs": best[: max(1, body["n_probs"])]}]}
        if route == "/v1/models":
            return 200, {"data": [{"id": NAME, "owned_by": "llamacpp", "meta": {"n_vocab": 384, "size": 1}}]}
        return self._model.answer(route, body) if route == "/v1/completions" else (404, {})

    def _changed(self, value: Any) -> Any:
        """Return JSON with one random place changed: replaced, removed, repeated, cut or emptied."""
        places = list(_places(value))
        if not places:
            return self._draw.choice(_VALUES)
        parent, key = self._draw.choice(places)
        action = self._draw.choice(("replace", "replace", "replace", "remove", "resize", "whole"))
        if action == "whole":
            return self._draw.choice(_VALUES)
        if action == "remove":
            del parent[key]
        elif action == "resize" and isinstance(parent[key], list):
            parent[key] = parent[key][: self._draw.randint(0, 3)] if self._draw.random() < 0.5 else parent[key] * 3
        else:
            parent[key] = copy.deepcopy(self._draw.choice(_VALUES))
        return value

    def _broken(self, content: bytes) -> bytes:
        cut = self._draw.randrange(len(content) + 1)
        return self._draw.choice(
            [
                content[:cut],
                content[:cut] + bytes(self._draw.randrange(256) for _ in range(4)) + content[cut:],
                b"\xff\xfe" + content,
                content + content,
                b"[" * 100_000,
                b'{"a":' * 5_000,
                b"9" * 5_000,
                b"<html>::error::x</html>",
                b"",
                b"null",
                b'"text"',
            ]
        )


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield container and key of every value inside a JSON value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in list(entries):
        yield value, key
        yield from _places(entry)


@contextmanager
def serve(mutant: Mutant) -> Iterator[str]:
    """Serve on a free local port, and yield the base URL."""

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        status, headers, content, shift = mutant.answer(handler.path, json.loads(body or b"{}"))
        handler.send_response_only(status, "Reason")
        for name, text in headers:
            handler.send_header(name, text)
        handler.send_header("Content-Length", str(max(0, len(content) + shift)))
        handler.end_headers()
        handler.wfile.write(content)

    with serve_answers(answer) as url:
        yield url
