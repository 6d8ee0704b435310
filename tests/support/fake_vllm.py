"""An HTTP server with vLLM's protocol on a tiny model. It can be scripted to fail, and to have faults of real servers.

Its log-probabilities are computed from the model's logits, so the served engine's scores can be compared with those of
the transformers engine on the same weights.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

NAME = "tiny"


@dataclass
class Fault:
    """A scripted reply: a status with headers and body, a dropped connection, or no reply until `hang` is set."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    text: str = '{"error": {"message": "scripted"}}'
    drop: bool = False
    hang: threading.Event | None = None


@dataclass
class FakeVllm:
    """The server's features, its scripted faults, and the requests that it received.

    Attributes
    ----------
    shift : bool
        Echo the log-probabilities of the next position, as llama-cpp-python 0.3.36 does.
    max_given : int
        Most ids in `logprob_token_ids`; with 0 the field is ignored, as older versions of vLLM do.
    block : int or None
        Block size of the prefix cache in /metrics; None has no such route.
    faults : list of Fault
        Replies to the next requests for completions.
    requests : list of (route, body, headers)
    """

    folder: Path
    name: str = NAME
    echo: bool = True
    shift: bool = False
    accepts_ids: bool = True
    accepts_many: bool = True
    max_given: int = 0
    block: int | None = None
    routes: tuple[str, ...] = ("/version", "/tokenize")
    reports_ids: bool = True
    lists: bool = True
    max_list: int = 20
    list_status: int = 400
    key: str | None = None
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    max_in_flight: int = 0

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.in_flight = 0

    def load(self) -> None:
        """Load the model now and not for the first request."""
        self.model  # noqa: B018
        self.tokenizer  # noqa: B018

    @cached_property
    def model(self) -> Any:
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(1)
        return AutoModelForCausalLM.from_pretrained(self.folder).eval()

    @cached_property
    def tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.folder)

    def logprobs(self, ids: list[int]) -> torch.Tensor:
        import torch

        with self.lock, torch.no_grad():
            return torch.log_softmax(self.model(torch.tensor([ids])).logits[0].float(), dim=-1)

    def token(self, number: int, by_id: bool) -> str:
        return f"token_id:{number}" if by_id else self.tokenizer.decode([number])

    def complete(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        import torch

        prompt = body["prompt"]
        if isinstance(prompt, list) and prompt and isinstance(prompt[0], list):
            return self._complete_each(body)
        if isinstance(prompt, list) and not self.accepts_ids:
            return 500, {"error": {"message": "Input should be a valid string"}}
        count = body.get("logprobs")
        if count is not None and count > self.max_list and not (self.max_given and body.get("logprob_token_ids")):
            return self.list_status, {"error": {"message": f"logprobs {count} > {self.max_list}"}}
        ids = prompt if isinstance(prompt, list) else self.tokenizer(prompt)["input_ids"]
        by_id = bool(body.get("return_tokens_as_token_ids")) and self.reports_ids
        given = body.get("logprob_token_ids") if self.max_given else None
        if given is not None and (len(given) > self.max_given or count != len(given)):
            return 400, {"error": {"message": f"logprob_token_ids of length {len(given)}, logprobs {count}"}}
        generated: list[int] = []
        reason = "length"
        generator = torch.Generator().manual_seed(body.get("seed", 0))
        for _ in range(body["max_tokens"]):
            row = self.logprobs(ids + generated)[-1]
            temperature = body.get("temperature", 1)
            next_token = int(
                (row / temperature).softmax(0).multinomial(1, generator=generator) if temperature else row.argmax()
            )
            if next_token == self.tokenizer.eos_token_id:
                reason = "stop"
                break
            generated.append(next_token)
            text = self.tokenizer.decode(generated)
            if any(stop in text for stop in body.get("stop", [])):
                reason = "stop"
                break
        text = self.tokenizer.decode(generated)
        for stop in body.get("stop", []):
            text = text.split(stop)[0]
        choice: dict[str, Any] = {"index": 0, "text": text, "finish_reason": reason}
        if count is not None and self.lists:
            first = 0 if body.get("echo") and self.echo else len(ids)
            choice["logprobs"] = self._table(ids + generated, first, len(ids), count, by_id, given)
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(generated)}
        return 200, {"object": "text_completion", "choices": [choice], "usage": usage}

    def _complete_each(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if not self.accepts_many:
            return 400, {"error": {"message": "prompt: Input should be a valid string"}}
        choices = []
        usage = {"prompt_tokens": 0, "completion_tokens": 0}
        for index, prompt in enumerate(body["prompt"]):
            status, reply = self.complete({**body, "prompt": prompt})
            if status != 200:
                return status, reply
            choices.append({**reply["choices"][0], "index": index})
            usage = {name: count + reply["usage"][name] for name, count in usage.items()}
        return 200, {"object": "text_completion", "choices": choices[::-1], "usage": usage}

    def _table(
        self, ids: list[int], first: int, prompt: int, count: int, by_id: bool, given: list[int] | None
    ) -> dict[str, Any]:
        rows = self.logprobs(ids)
        tokens, values, tops = [], [], []
        for index in range(first, len(ids)):
            tokens.append(self.token(ids[index], by_id))
            # the logits at the position before a token predict it
            row = index if self.shift and index < prompt else index - 1
            if index == 0:
                values.append(None)
                tops.append(None)
                continue
            values.append(float(rows[row][ids[index]]))
            best = rows[row].topk(min(count, rows.shape[1])).indices.tolist()
            numbers = best if given is None else [ids[index], *given]
            tops.append({self.token(number, by_id): float(rows[row][number]) for number in numbers})
        return {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops, "text_offset": []}

    def answer(self, route: str, body: dict[str, Any]) -> tuple[int, Any]:
        if route == "/metrics" and self.block is not None:
            labels = f'block_size="{self.block}",enable_prefix_caching="True",engine="0"'
            return 200, f"# HELP vllm:cache_config_info x\nvllm:cache_config_info{{{labels}}} 1.0\n"
        if route == "/v1/models":
            return 200, {"data": [{"id": self.name, "created": 1, "owned_by": "vllm", "max_model_len": 256}]}
        if route == "/v1/completions":
            return self.complete(body)
        if route == "/health":
            return 200, {}
        if route == "/version" and route in self.routes:
            return 200, {"version": "0.0.tiny"}
        if route == "/tokenize" and route in self.routes:
            ids = self.tokenizer(body["prompt"], add_special_tokens=body["add_special_tokens"])["input_ids"]
            return 200, {"tokens": ids, "count": len(ids), "max_model_len": 256}
        return 404, {"detail": "Not Found"}


@contextmanager
def unchanged(fake: FakeVllm) -> Iterator[None]:
    """Begin without faults and requests, and undo at the end what a test changed on a server."""
    before = dict(vars(fake))
    fake.faults, fake.requests, fake.max_in_flight = [], [], 0
    try:
        yield
    finally:
        vars(fake).update(before)


@contextmanager
def serve(fake: FakeVllm, port: int = 0, load: bool = True) -> Iterator[str]:
    """Serve on a local port, by default a free one, and yield the base URL.

    Loading imports torch, which takes seconds; without `load`, the first request that needs the model waits for it.
    """
    if load:
        fake.load()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionError:  # a test ended with requests in flight
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, body: dict[str, Any]) -> None:
            with counter:
                fake.in_flight += 1
                fake.max_in_flight = max(fake.max_in_flight, fake.in_flight)
                fake.requests.append((self.path, body, dict(self.headers)))
                fault = fake.faults.pop(0) if fake.faults and self.path == "/v1/completions" else None
            try:
                self._send(fault, body)
            finally:
                with counter:
                    fake.in_flight -= 1

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
            elif fake.key and self.headers.get("Authorization") != f"Bearer {fake.key}":
                message = f"Incorrect API key provided: {self.headers.get('Authorization')}"
                status, headers, text = 401, {}, json.dumps({"error": {"message": message}})
            else:
                status, answer = fake.answer(self.path, body)
                headers, text = {}, answer if isinstance(answer, str) else json.dumps(answer)
            content = text.encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    counter = threading.Lock()
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        for fault in fake.faults:
            if fault.hang is not None:
                fault.hang.set()
        server.shutdown()
        server.server_close()
        thread.join()
