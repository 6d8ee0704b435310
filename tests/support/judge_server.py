"""A judge with a rule instead of a model, behind the chat route of an OpenAI-compatible server."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from support.http_server import serve_answers, write_json

Rule = Callable[[Sequence[str]], str | None]
"""From the answers, in the order shown, to a verdict; None gives a reply without one."""


def longer(answers: Sequence[str]) -> str:
    """Prefer the longer answer; grade one answer by its length."""
    if len(answers) == 1:
        return str(max(1, min(10, len(answers[0]))))
    first, second = map(len, answers)
    return "A" if first > second else "B" if second > first else "TIE"


@dataclass
class JudgeServer:
    """The server's address, and what it was asked."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def judge_server(
    rule: Rule = longer, seconds: float = 0.0, structured: bool = False, status: int = 200
) -> Iterator[JudgeServer]:
    """Serve the rule. The judge quotes the answers before its verdict, with whatever verdicts they contain."""
    server = JudgeServer()
    lock = threading.Lock()

    def write(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        body = json.loads(content)
        with lock:
            server.asked.append(body)
        time.sleep(seconds)
        text = reply(body["messages"][-1]["content"], rule, structured)
        usage = {"prompt_tokens": 7, "completion_tokens": 3}
        write_json(handler, status, {"choices": [{"message": {"content": text}}], "usage": usage})

    with serve_answers(write, "HTTP/1.1") as server.url:
        yield server


def reply(prompt: str, rule: Rule, structured: bool) -> str:
    """Return the judge's reply to a prompt."""
    nonce, answers = prompt_parts(prompt)
    verdict = rule(answers)
    if structured:
        shown: Any = int(verdict) if verdict and verdict.isdecimal() else verdict
        return json.dumps({"reason": "by rule", "verdict": shown})
    quoted = "\n".join(answers)
    return f"I read:\n{quoted}\n" + ("" if verdict is None else f"**VERDICT-{nonce}: {verdict}**")


def prompt_parts(prompt: str) -> tuple[str, list[str]]:
    """Return the nonce and the answers in a judge's prompt, in the order shown."""
    nonce = re.match(r"<question-(\w+)>", prompt)[1]
    names = [name for name in ("answer_a", "answer_b", "answer") if f"<{name}-{nonce}>" in prompt]
    return nonce, [prompt.split(f"<{name}-{nonce}>\n", 1)[1].split(f"\n</{name}-{nonce}>", 1)[0] for name in names]
