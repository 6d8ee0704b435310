"""Chats rendered by a server's own chat template."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from gate.engines.openai.client import Client, RefusedError
from gate.engines.openai.server import Server
from gate.errors import TaskError
from gate.tasks import Message
from gate.tasks.chat import ChatFormat


async def render_on_server(
    client: Client, server: Server, name: str, messages: Sequence[Message], chat: ChatFormat
) -> str:
    """Return the prompt that a server's chat template renders; `name` is the model's name in messages.

    Raises
    ------
    TaskError
        The server cannot render the chat, or not without generating a text.
    """
    cause = "its server has no route that renders chats (only llama.cpp's has one)"
    if server.kind == "llama.cpp":
        body = {
            "messages": [asdict(message) for message in messages],
            "chat_template_kwargs": json.loads(chat.template_kwargs),
        }
        try:
            reply = await client.request("apply-template", body)
            if isinstance(reply, dict) and isinstance(reply.get("prompt"), str):
                return str(reply["prompt"])
        except RefusedError as error:
            cause = error.message
    raise TaskError(
        f"{'chat' if chat.route else 'chat_template'}: true, but {name} cannot render the chat: {cause}.",
        "Set `tokenizer:` to a folder or hub name with the served model's tokenizer and chat template.",
    )
