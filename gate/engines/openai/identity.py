"""What a served model is known by. A server cannot prove its weights; what it says and answers stands for them."""

from __future__ import annotations

from typing import Any

from gate.config import EngineSettings, ModelSettings
from gate.engines.base import ModelIdentity
from gate.engines.openai.client import Client, run
from gate.engines.openai.probe import PROMPTS
from gate.engines.openai.server import Server, find_server
from gate.engines.openai.wire import Completion, read
from gate.tasks import digest

_ROUTE = "v1/completions"
_LENGTH = 10  # tokens a prompt


def identify_served(settings: ModelSettings, engine: EngineSettings, tokenizer: str) -> ModelIdentity:
    """Identify a served model, whatever its address.

    Its `weights` are what the server says of the model and the texts that it continues five fixed prompts with,
    greedily and one after the other: other weights behind the same name nearly always continue one of 50 tokens
    otherwise, and the cached baseline is then not used. Where the user names a `revision`, that stands for the
    weights instead, and no text is generated.

    Parameters
    ----------
    settings, engine
    tokenizer : str
        What stands for the tokenizer on this machine; empty for none.

    Raises
    ------
    ModelError, EvaluationError
        The server serves another model, or cannot be reached.
    """

    async def ask() -> tuple[Server, list[str]]:
        async with Client(engine) as client:
            server = await find_server(client, settings.model)
            if settings.revision is not None:
                return server, []
            return server, [await _continued(client, server, prompt) for prompt in PROMPTS]

    server, texts = run(ask())
    return ModelIdentity(
        name=settings.model,
        revision=settings.revision,
        weights="served " + digest([server.model, server.facts, texts]),
        tokenizer=tokenizer or "the server's",
        dtype=settings.dtype,
        engine=f"openai({server.kind} {server.version})",
    )


async def _continued(client: Client, server: Server, prompt: str) -> str:
    body: dict[str, Any] = {
        "model": server.model,
        "prompt": prompt,
        "max_tokens": _LENGTH,
        "temperature": 0,
        "seed": 0,
    }
    if server.kind == "llama.cpp":
        body["cache_prompt"] = False  # what is cached changes the order of sums, and so ties
    answer = read(Completion, await client.post(_ROUTE, body), _ROUTE)
    return answer.choices[0].text if answer.choices else ""
