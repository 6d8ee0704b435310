"""Chats that are rendered later: a task is built before the tokenizer whose template they need is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gate.canonical import canonical_json
from gate.errors import TaskError
from gate.tasks.requests import Message, Render

_MARK = "\x00chat:"


class Chat(str):
    """Takes the place of a prompt in lm-eval's requests: the text stands for its messages, which it carries."""

    __slots__ = ("messages",)
    messages: tuple[Message, ...]

    @classmethod
    def of(cls, history: Sequence[Mapping[str, Any]], add_generation_prompt: bool = True) -> Chat:  # noqa: ARG003
        """Take the place of a model's `apply_chat_template`; a last turn of the assistant is to be gone on with."""
        chat = cls(_MARK + canonical_json([[turn["role"], turn["content"]] for turn in history]))
        chat.messages = tuple(Message(str(turn["role"]), str(turn["content"])) for turn in history)
        return chat


def plain(context: str, render: Render, where: str) -> str:
    """Return the prompt that a request's context stands for.

    Raises
    ------
    TaskError
        The task changed the context after it was rendered, which can only be done to a real text.
    """
    if isinstance(context, Chat):
        return render(context.messages)
    if _MARK in context:
        raise TaskError(
            f"{where}: the task's own code changes the prompt behind the chat template.",
            "Set chat_template: false for it.",
        )
    return context
