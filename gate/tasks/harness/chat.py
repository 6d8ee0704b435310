"""Chats that are rendered later: a task is built before the tokenizer with the chat template is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gate.common.canonical import canonical_json
from gate.config import TaskSettings
from gate.errors import TaskError
from gate.tasks.chat import Message, Render

_MARK = "\x00chat:"


class Chat(str):
    """Stands in for a rendered chat in lm-eval's requests, and carries its messages."""

    __slots__ = ("messages",)
    messages: tuple[Message, ...]

    @classmethod
    def of(cls, history: Sequence[Mapping[str, Any]], add_generation_prompt: bool = True) -> Chat:  # noqa: ARG003
        """Return the messages as a `Chat`; lm-eval calls this in place of a model's `apply_chat_template`."""
        chat = cls(_MARK + canonical_json([[turn["role"], turn["content"]] for turn in history]))
        chat.messages = tuple(Message(str(turn["role"]), str(turn["content"])) for turn in history)
        return chat


def rendered(context: str, render: Render, where: str) -> str:
    """Return the prompt of a request's context, with its chat rendered.

    Raises
    ------
    TaskError
        The task's own code changed the placeholder, which it may do only to a rendered text.
    """
    if isinstance(context, Chat):
        return render(context.messages)
    if _MARK in context:
        raise TaskError(
            f"{where}: the task's own code changes the prompt after the chat template was applied.",
            "Set chat_template: false for this task.",
        )
    return context


def chat_of(context: str, where: str) -> tuple[Message, ...]:
    """Return the messages of a request's context, for a server's chat route.

    Raises
    ------
    TaskError
        The last message is the beginning of the answer, which a chat route cannot continue.
    """
    messages = context.messages if isinstance(context, Chat) else ()
    if not messages or messages[-1].role == "assistant":
        raise TaskError(
            f"{where}: chat: true, but its prompts begin the answer (gen_prefix), which a chat route cannot continue.",
            "Use chat_template: true instead of chat.",
        )
    return messages


def refuse_chat_of_choices(settings: TaskSettings, subtasks: Mapping[str, Any]) -> None:
    """Raise a TaskError for keys that need generated texts, if a subtask asks for log-likelihoods."""
    keys = [key for key in ("chat", "reasoning", "sampling") if getattr(settings, key)]
    other = [name for name, task in subtasks.items() if task.OUTPUT_TYPE != "generate_until"]
    if keys and other:
        raise TaskError(
            f"task {settings.name}: {', '.join(keys)}: only for tasks that generate text; {other[0]} asks for "
            "log-likelihoods.",
            "Remove the keys; chat_template: true applies a chat template to any task.",
        )
