"""The fake vLLM with a chat route, and a tiny model whose chat template has a variable."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.fake_vllm import FakeVllm

TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:"
    "{% if enable_thinking is defined and not enable_thinking %} no{% endif %}{% endif %}"
)


def write_chat_model(trained_model: Path, folder: Path) -> Path:
    """Write a copy of the trained tiny model with `TEMPLATE`."""
    shutil.copytree(trained_model, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return folder


@dataclass
class FakeChat(FakeVllm):
    """The fake vLLM with a chat route.

    Attributes
    ----------
    has_chat : bool
        Whether there is a chat route.
    knows_kwargs : bool
        Whether template variables are passed to the template.
    reasoning_field : str or None
        Field into which reasoning is separated, as with a reasoning parser whose tags are `start` and `end`.
    refused : dict
        Message of the error 400 for each field of a request that is refused.
    counts : bool
        Whether token counts are reported.
    """

    has_chat: bool = True
    knows_kwargs: bool = True
    reasoning_field: str | None = None
    start: str = ""
    end: str = ""
    refused: dict[str, str] = field(default_factory=dict)
    counts: bool = True

    def chat(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer a chat."""
        for name, message in self.refused.items():
            if name in body:
                return 400, {"error": {"message": message}}
        variables = body.get("chat_template_kwargs", {}) if self.knows_kwargs else {}
        prompt = self.tokenizer.apply_chat_template(
            body["messages"], tokenize=False, add_generation_prompt=True, **variables
        )
        rest = {name: value for name, value in body.items() if name not in ("messages", "chat_template_kwargs")}
        rest["max_tokens"] = rest.get("max_tokens", rest.get("max_completion_tokens"))
        ids = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        status, reply = self.complete({**rest, "prompt": ids})
        if status != 200:
            return status, reply
        text = reply["choices"][0]["text"]
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if self.reasoning_field is not None:
            reasoning, _, answer = text.strip().removeprefix(self.start).partition(self.end)
            message = {"role": "assistant", "content": answer or None, self.reasoning_field: reasoning}
        choice = {"index": 0, "message": message, "finish_reason": reply["choices"][0]["finish_reason"]}
        return 200, {"choices": [choice], **({"usage": reply["usage"]} if self.counts else {})}

    def answer(self, route: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Answer any route."""
        if route == "/v1/chat/completions" and self.has_chat:
            return self.chat(body)
        return super().answer(route, body)
