"""A model server that answers at once: `python instant_server.py MODEL NAME HOST PORT [--echo] [--delay=SECONDS]`.

It has vLLM's protocol, and a bigram rule in place of a model: no weights are read. It starts in a fraction of a second.
With --echo it does not know given ids; with --delay it waits before each reply. It prints its port (0 takes a free one).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

VOCABULARY = 49_152
LIKELY = -0.25


def likeliest(previous: int) -> int:
    """Return the likeliest token after another."""
    return (previous * 7919 + 13) % VOCABULARY


def logprob(previous: int, token: int) -> float:
    """Return the log-probability of a token after another."""
    return LIKELY if token == likeliest(previous) else -2.0 - (token * 31 + previous * 17) % 64 / 8


def next_likeliest(previous: int, count: int) -> list[int]:
    """Return some tokens that are second likeliest after another, all with the same log-probability."""
    first = next(token for token in range(64) if (token * 31 + previous * 17) % 64 == 0)
    places = range(first, VOCABULARY, 64)
    return [token for token in places[: count + 1] if token != likeliest(previous)][:count]


def choice(index: int, ids: list[int], body: dict[str, Any], knows_ids: bool) -> str:
    """Return one choice as JSON."""
    new = []
    for _ in range(body["max_tokens"]):
        new.append(likeliest((ids + new)[-1]))
    given = body.get("logprob_token_ids") if knows_ids else None
    whole = ids + new
    first = 0 if body.get("echo") else len(ids)
    tokens, values, tops = [], [], []
    for place in range(first, len(whole)):
        token = whole[place]
        tokens.append(f'"token_id:{token}"')
        if place == 0:
            values.append("null")
            tops.append("null")
            continue
        previous = whole[place - 1]
        value, best = logprob(previous, token), likeliest(previous)
        values.append(str(value))
        if given is not None:
            others = ",".join(f'"token_id:{each}":{logprob(previous, each)}' for each in given if each != token)
            tops.append(f'{{"token_id:{token}":{value},{others}}}')
        elif (body.get("logprobs") or 0) > 1:
            listed = {token: value, best: LIKELY} | dict.fromkeys(next_likeliest(previous, body["logprobs"]), -2.0)
            tops.append("{" + ",".join(f'"token_id:{each}":{listed[each]}' for each in listed) + "}")
        elif best == token:
            tops.append(f'{{"token_id:{token}":{value}}}')
        else:
            tops.append(f'{{"token_id:{token}":{value},"token_id:{best}":{LIKELY}}}')
    logprobs = f'"tokens":[{",".join(tokens)}],"token_logprobs":[{",".join(values)}],"top_logprobs":[{",".join(tops)}]'
    return f'{{"index":{index},"text":"x","finish_reason":"length","logprobs":{{{logprobs}}}}}'


def answer(route: bytes, content: bytes, name: str, knows_ids: bool, counts: dict[str, float]) -> tuple[int, str]:
    """Return status and body of a reply."""
    if route == b"/v1/completions":
        body = json.loads(content)
        if isinstance(body["prompt"], str):  # it has no tokenizer
            return 200, '{"choices":[{"index":0,"text":"x","finish_reason":"length"}]}'
        prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
        counts["requests"] += 1
        counts["prompts"] += len(prompts)
        choices = ",".join(choice(index, ids, body, knows_ids) for index, ids in enumerate(prompts))
        tokens = sum(map(len, prompts))
        return 200, f'{{"choices":[{choices}],"usage":{{"prompt_tokens":{tokens},"completion_tokens":{len(prompts)}}}}}'
    if route == b"/v1/models":
        return 200, json.dumps({"data": [{"id": name, "max_model_len": 4096}]})
    if route == b"/version":
        return 200, '{"version":"stub"}'
    if route == b"/counts":
        return 200, json.dumps({**counts, "seconds": time.process_time()})
    return 404, '{"detail":"Not Found"}'


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self, name: str, knows_ids: bool, delay: float, counts: dict[str, float]) -> None:
        self.buffer = b""
        self.name, self.knows_ids, self.delay, self.counts = name, knows_ids, delay, counts

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Answer every complete request."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            found = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0].strip()
            size = end + 4 + int(found or 0)
            if len(self.buffer) < size:
                return
            content, self.buffer = self.buffer[end + 4 : size], self.buffer[size:]
            status, text = answer(head.split(b" ")[1], content, self.name, self.knows_ids, self.counts)
            body = text.encode()
            header = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            # a client sends the next request of a connection after the reply, so replies stay in order
            asyncio.get_running_loop().call_later(self.delay, self.transport.write, header.encode() + body)


async def main() -> None:
    """Serve until the process ends."""
    name, host, port, *rest = sys.argv[2:]
    options = dict(word.removeprefix("--").partition("=")[::2] for word in rest)
    counts = {"requests": 0.0, "prompts": 0.0}
    loop = asyncio.get_running_loop()
    delay = float(options.get("delay", 0))
    server = await loop.create_server(lambda: Connection(name, "echo" not in options, delay, counts), host, int(port))
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
