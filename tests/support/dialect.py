"""A real HTTP server on a real (tiny) model that speaks vLLM's dialect, and can be told to fail or to lie.

Its log-probabilities come straight from the model's logits, so that what an engine makes of its answers can be compared
with the engine that holds the same weights.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(1)

NAME = "tiny"


@dataclass
class Fault:
    """What is answered instead: a status with headers and text, or a connection that is dropped."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    text: str = '{"error": {"message": "told to"}}'
    drop: bool = False
    hang: threading.Event | None = None


@dataclass
class Dialect:
    """What the server can do, what it is told to do next, and what it was asked.

    `shift` echoes the log-probabilities of the next position, as llama-cpp-python 0.3.36 does.
    """

    folder: Path
    echo: bool = True
    shift: bool = False
    takes_ids: bool = True
    routes: tuple[str, ...] = ("/version", "/tokenize")
    names_ids: bool = True
    lists: bool = True
    longest_list: int = 20
    refusal: int = 400
    key: str | None = None
    faults: list[Fault] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(self.folder).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        self.lock = threading.Lock()
        self.inside = 0

    def logprobs(self, ids: list[int]) -> torch.Tensor:
        with self.lock, torch.no_grad():
            return torch.log_softmax(self.model(torch.tensor([ids])).logits[0].float(), dim=-1)

    def token(self, number: int, by_id: bool) -> str:
        return f"token_id:{number}" if by_id else self.tokenizer.decode([number])

    def complete(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        prompt = body["prompt"]
        if isinstance(prompt, list) and not self.takes_ids:
            return 500, {"error": {"message": "Input should be a valid string"}}
        wanted = body.get("logprobs")
        if wanted is not None and wanted > self.longest_list:
            return self.refusal, {"error": {"message": f"logprobs {wanted} > {self.longest_list}"}}
        ids = prompt if isinstance(prompt, list) else self.tokenizer(prompt)["input_ids"]
        by_id = bool(body.get("return_tokens_as_token_ids")) and self.names_ids
        made: list[int] = []
        reason = "length"
        draws = torch.Generator().manual_seed(body.get("seed", 0))
        for _ in range(body["max_tokens"]):
            row = self.logprobs(ids + made)[-1]
            warmth = body.get("temperature", 1)
            next_token = int(
                (row / warmth).softmax(0).multinomial(1, generator=draws) if warmth else row.argmax()
            )
            if next_token == self.tokenizer.eos_token_id:
                reason = "stop"
                break
            made.append(next_token)
            text = self.tokenizer.decode(made)
            ends = [text.find(one) for one in body.get("stop", []) if one in text]
            if ends:
                reason = "stop"
                break
        text = self.tokenizer.decode(made)
        for one in body.get("stop", []):
            text = text.split(one)[0]
        choice: dict[str, Any] = {"index": 0, "text": text, "finish_reason": reason}
        if wanted is not None and self.lists:
            first = 0 if body.get("echo") and self.echo else len(ids)
            choice["logprobs"] = self._table(ids + made, first, len(ids), wanted, by_id)
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(made)}
        return 200, {"object": "text_completion", "choices": [choice], "usage": usage}

    def _table(self, ids: list[int], first: int, prompt: int, wanted: int, by_id: bool) -> dict[str, Any]:
        rows = self.logprobs(ids)
        tokens, values, tops = [], [], []
        for place in range(first, len(ids)):
            tokens.append(self.token(ids[place], by_id))
            # the row before a token predicts it
            row = place if self.shift and place < prompt else place - 1
            if place == 0:
                values.append(None)
                tops.append(None)
                continue
            values.append(float(rows[row][ids[place]]))
            best = rows[row].topk(min(wanted, rows.shape[1]))
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            tops.append({self.token(number, by_id): value for number, value in pairs})
        return {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops, "text_offset": []}

    def answer(self, route: str, body: dict[str, Any]) -> tuple[int, Any]:
        if route == "/v1/models":
            return 200, {"data": [{"id": NAME, "created": 1, "owned_by": "vllm", "max_model_len": 256}]}
        if route == "/v1/completions":
            return self.complete(body)
        if route == "/version" and route in self.routes:
            return 200, {"version": "0.0.tiny"}
        if route == "/tokenize" and route in self.routes:
            ids = self.tokenizer(body["prompt"], add_special_tokens=body["add_special_tokens"])["input_ids"]
            return 200, {"tokens": ids, "count": len(ids), "max_model_len": 256}
        return 404, {"detail": "Not Found"}


@contextmanager
def serve(dialect: Dialect) -> Iterator[str]:
    """Serve on a free port of this machine; give the base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, body: dict[str, Any]) -> None:
            with counter:
                dialect.inside += 1
                dialect.most_at_once = max(dialect.most_at_once, dialect.inside)
                dialect.asked.append((self.path, body, dict(self.headers)))
                fault = dialect.faults.pop(0) if dialect.faults and self.path == "/v1/completions" else None
            try:
                self._send(fault, body)
            finally:
                with counter:
                    dialect.inside -= 1

        def _send(self, fault: Fault | None, body: dict[str, Any]) -> None:
            if fault is not None and fault.hang is not None:
                fault.hang.wait(30)
                self.close_connection = True
                return
            if fault is not None and fault.drop:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            if fault is not None:
                status, headers, text = fault.status, fault.headers, fault.text
            elif dialect.key and self.headers.get("Authorization") != f"Bearer {dialect.key}":
                told = f"Incorrect API key provided: {self.headers.get('Authorization')}"
                status, headers, text = 401, {}, json.dumps({"error": {"message": told}})
            else:
                status, answer = dialect.answer(self.path, body)
                headers, text = {}, json.dumps(answer)
            content = text.encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    counter = threading.Lock()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        for fault in dialect.faults:
            if fault.hang is not None:
                fault.hang.set()
        server.shutdown()
        server.server_close()
        thread.join()
