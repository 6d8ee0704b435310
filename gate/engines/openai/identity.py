"""The identity of a served model: what the server reports and generates, because it cannot prove its weights."""

from __future__ import annotations

from gate.common.canonical import digest
from gate.config import EngineSettings, ModelSettings
from gate.engines.base import ModelIdentity
from gate.engines.openai.client import Client
from gate.engines.openai.completions import Completions
from gate.engines.openai.lanes import run
from gate.engines.openai.probe import PROMPTS
from gate.engines.openai.server import Server, find_server
from gate.errors import ModelError

_LENGTH = 10  # tokens per prompt


def is_listed(settings: ModelSettings, engine: EngineSettings) -> bool:
    """Return whether a server lists a model among those that it serves; a server without a list may accept any name.

    Raises
    ------
    EvaluationError
        The server is unreachable.
    """

    async def query() -> bool:
        async with Client(engine) as client:
            try:
                return "id" in (await find_server(client, settings.model)).facts
            except ModelError:
                return False

    return run(query())


def identify_served(settings: ModelSettings, engine: EngineSettings, tokenizer: str) -> ModelIdentity:
    """Identify a served model, independently of its address.

    The `weights` of the identity are the server's facts about the model and its greedy continuations of five fixed
    prompts. Other weights under the same name almost always change one of these 50 tokens, so the cached baseline is
    then not used. If the user sets `revision`, it takes the place of the continuations, and no text is generated.

    Parameters
    ----------
    tokenizer : str
        Identity of the tokenizer on this machine; empty for none.

    Raises
    ------
    ModelError, EvaluationError
        The server serves another model, or is unreachable.
    """

    async def query() -> tuple[Server, list[str]]:
        async with Client(engine) as client:
            server = await find_server(client, settings.model)
            if settings.revision is not None:
                return server, []
            completions, texts = Completions(client, server, None), []
            # llama.cpp's cache changes the order of sums, and with it the outcome of ties
            options = {"cache_prompt": False} if server.kind == "llama.cpp" else {}
            for prompt in PROMPTS:
                completion = await completions.complete(prompt, max_tokens=_LENGTH, temperature=0, **options)
                texts.append(completion.choices[0].text)
            return server, texts

    server, texts = run(query())
    return ModelIdentity(
        name=settings.model,
        revision=settings.revision,
        weights="served " + digest([server.model, server.facts, texts]),
        tokenizer=tokenizer or "the server's",
        dtype=settings.dtype,
        engine=f"openai({server.kind} {server.version})",
    )
