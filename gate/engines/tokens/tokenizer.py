"""What engines ask of a tokenizer: token ids of texts, the prefix token, and rendered chats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

import jinja2

from gate.common.time_limit import time_limit
from gate.errors import TaskError
from gate.tasks import CHAT_DATE, Message
from gate.tasks.chat import TEMPLATE_ONLY, ChatFormat

_TEMPLATE_SECONDS = 5.0  # for one prompt; real templates take less than a millisecond
_DIRECTIVES = [f"%{flag}{letter}" for flag in ("", "-") for letter in "aAwdebBhmyYHIMSfpjUWcxXGuVDFTRzZ"]
# hides the function of transformers, which gives the present time; the empty expression keeps a leading line break
_FIXED_DATE = (
    "{% macro strftime_now(format) %}{{ format | replace('%%', '\\0') "
    + " ".join(f"| replace({text!r}, {CHAT_DATE.strftime(text)!r})" for text in _DIRECTIVES)
    + " | replace('\\0', '%') }}{% endmacro %}{{ '' }}"
)


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that encoding uses."""

    bos_token: str | None
    bos_token_id: int | None
    eos_token_id: int | None

    def __call__(self, text: list[str], *, add_special_tokens: bool) -> dict[str, list[list[int]]]:
        """Tokenise a batch of texts."""


def prefix_token(tokenizer: Tokenizer) -> int | None:
    """Return the token that conditions a text's first token: BOS, or EOS if there is no BOS."""
    return tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id


def encode(tokenizer: Tokenizer, texts: Sequence[str], special: bool = True) -> list[list[int]]:
    """Return the token ids of each text.

    If `special`, the tokenizer's special tokens are added to each text that does not already start with the BOS text.
    """
    bos = tokenizer.bos_token
    add_special = [special and not (bos and text.startswith(bos)) for text in texts]
    encoded: list[list[int]] = [[]] * len(texts)
    for flag in set(add_special):
        indices = [index for index, add in enumerate(add_special) if add is flag]
        batch = tokenizer([texts[index] for index in indices], add_special_tokens=flag)["input_ids"]
        for index, ids in zip(indices, batch, strict=True):
            encoded[index] = list(ids)
    return encoded


def render_chat(tokenizer: Any, messages: Sequence[Message], model: str, chat: ChatFormat = TEMPLATE_ONLY) -> str:
    """Return the prompt that a transformers tokenizer's chat template renders.

    If the last message is the assistant's, the prompt leaves it open for the model to continue. A template that writes
    today's date writes `CHAT_DATE` instead: else a cached baseline would have other prompts than a later candidate.

    Raises
    ------
    TaskError
        The tokenizer has no chat template, or the template rejects the messages. The error names `model`.
    """
    is_open = messages[-1].role == "assistant"
    dated = "strftime_now" in str(getattr(tokenizer, "chat_template", None))
    try:
        with time_limit(_TEMPLATE_SECONDS):
            prompt = tokenizer.apply_chat_template(
                [asdict(message) for message in messages],
                tokenize=False,
                add_generation_prompt=not is_open,
                continue_final_message=is_open,
                **json.loads(chat.template_kwargs),
                **({"chat_template": _FIXED_DATE + tokenizer.get_chat_template()} if dated else {}),
            )
    except (ValueError, TypeError, ArithmeticError, LookupError, TimeoutError, jinja2.TemplateError) as error:
        key, others = ("chat" if chat.route else "chat_template"), chat.template_kwargs
        raise TaskError(
            f"{key}: true, but the tokenizer of {model} cannot render the chat: {error}",
            f"Set {key}: false, or use a tokenizer that ships a chat template."
            + (f" Check chat_template_kwargs: {others}." if others != "{}" else ""),
        ) from None
    return str(prompt)
