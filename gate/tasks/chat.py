"""Chats: their messages, and how they become prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

CHAT_DATE = datetime(2024, 7, 26)
"""What a chat template that asks for the date and time is given: the date that Llama 3 templates write without one."""


@dataclass(frozen=True)
class Message:
    """One turn of a chat: its role (`system`, `user` or `assistant`) and its text."""

    role: str
    content: str


@dataclass(frozen=True)
class ChatFormat:
    """How a chat becomes a prompt.

    Attributes
    ----------
    template_kwargs : str
        Variables of the chat template, as a JSON object.
    route : bool
        Whether a server gets the messages, by its route `/v1/chat/completions`, instead of a rendered prompt.
    """

    template_kwargs: str = "{}"
    route: bool = False


TEMPLATE_ONLY = ChatFormat()
"""The chat template without variables, rendered by the engine."""

Render = Callable[[Sequence[Message]], str]
"""Renders a chat with the model's template. A final assistant turn is left open, so that the model continues it.

Empty if only the server can render a chat that is sent to its chat route.
"""
