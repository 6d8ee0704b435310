"""Text generation by `/v1/completions`."""

from __future__ import annotations

from typing import Any

from gate.engines.base import GenerateAnswer, GenerateRequest
from gate.engines.openai.client import Client
from gate.engines.openai.server import Server
from gate.engines.openai.wire import Completion, read
from gate.engines.tokens.served import LocalTokens
from gate.errors import EvaluationError

_ROUTE = "v1/completions"
# what switches off a server's own defaults, which would reach the answers: many take them from the model's
# generation_config.json
_PLAIN: dict[str, dict[str, Any]] = {
    "llama.cpp": {"top_k": 0, "min_p": 0, "typical_p": 1, "repeat_penalty": 1, "cache_prompt": True},
    "vllm": {"top_k": -1, "min_p": 0, "repetition_penalty": 1},
    "sglang": {"top_k": -1, "min_p": 0, "repetition_penalty": 1},
}
_ENDS = (None, "stop", "length", "eos", "eos_token", "stop_sequence")


async def prompt_of(
    server: Server, tokens: LocalTokens | None, as_ids: bool, request: GenerateRequest
) -> list[int] | str:
    """Return the context in the form that the server is asked in, cut on the left where there is no room for the text.

    Parameters
    ----------
    server
    tokens : LocalTokens or None
        Tokenizer on this machine.
    as_ids : bool
        Whether the server takes prompts as its ids.
    request : GenerateRequest
    """
    if tokens is None:
        return request.context
    if not as_ids:
        return tokens.as_text(request.context)
    (ids,) = await tokens.encode([request.context])
    start = await tokens.beginning()
    prompt = ids or ([] if start is None else [start])
    if server.max_length is not None:
        prompt = prompt[-max(1, server.max_length - request.max_tokens) :]
    return prompt


async def generate(
    client: Client, server: Server, prompt: list[int] | str, request: GenerateRequest
) -> GenerateAnswer:
    """Return the text that the server continues a context with, cut before the first stop string.

    Parameters
    ----------
    client, server
    prompt : list of int or str
        See `prompt_of`.
    request : GenerateRequest

    Raises
    ------
    EvaluationError
        The server ended the text for another reason than its end, its length or a stop string.
    """
    body = {
        "model": server.model,
        "prompt": prompt,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": 1,
        "frequency_penalty": 0,
        "presence_penalty": 0,
        "seed": request.seed,
        **_PLAIN.get(server.kind, {}),
        **({"stop": list(request.stop)} if request.stop else {}),
    }
    answer = read(Completion, await client.post(_ROUTE, body), _ROUTE)
    if not answer.choices:
        raise EvaluationError(f"the server answers /{_ROUTE} without a choice.")
    choice = answer.choices[0]
    if choice.finish_reason not in _ENDS:
        raise EvaluationError(
            f"the server ended a text for the reason {choice.finish_reason!r}, after {request.context[-40:]!r}.",
            "Only its end, the longest length and a stop string are answers; look into the server's log.",
        )
    places = [place for one in request.stop if (place := choice.text.find(one)) >= 0]
    usage = answer.usage
    return GenerateAnswer(
        choice.text[: min(places)] if places else choice.text,
        usage.prompt_tokens if usage else 0,
        usage.completion_tokens if usage else 0,
    )
