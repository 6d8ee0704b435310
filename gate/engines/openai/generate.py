"""Text generation with `/v1/completions`."""

from __future__ import annotations

from typing import Any

from gate.engines.openai.completions import Completions
from gate.errors import EvaluationError
from gate.tasks.requests import GenerateAnswer, GenerateRequest

# disables a server's own sampling defaults, which may come from the model's generation_config.json
_NEUTRAL: dict[str, dict[str, Any]] = {
    "llama.cpp": {"top_k": 0, "min_p": 0, "typical_p": 1, "repeat_penalty": 1, "cache_prompt": True},
    "vllm": {"top_k": -1, "min_p": 0, "repetition_penalty": 1},
    "sglang": {"top_k": -1, "min_p": 0, "repetition_penalty": 1},
}
_FINISH_REASONS = (None, "stop", "length", "eos", "eos_token", "stop_sequence")


async def generate(completions: Completions, prompt: list[int] | str, request: GenerateRequest) -> GenerateAnswer:
    """Return the text that the server generates, cut before the first stop string.

    `prompt` is the request's context, as ids or as text.

    Raises
    ------
    EvaluationError
        The text ended for a reason other than end of text, length, or stop string.
    """
    options: dict[str, Any] = {"stop": list(request.stop)} if request.stop else {}
    options |= _NEUTRAL.get(completions.server.kind, {})
    completion = await completions.complete(
        prompt,
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        frequency_penalty=0,
        presence_penalty=0,
        seed=request.seed,
        **options,
    )
    choice, usage = completion.choices[0], completion.usage
    if choice.finish_reason not in _FINISH_REASONS:
        raise EvaluationError(
            f"the server ended a text for the reason {choice.finish_reason!r}, after {request.context[-40:]!r}.",
            "Expected end of text, length, or a stop string; check the server's log.",
        )
    ends = [index for stop in request.stop if (index := choice.text.find(stop)) >= 0]
    return GenerateAnswer(
        choice.text[: min(ends)] if ends else choice.text,
        usage.prompt_tokens if usage else 0,
        usage.completion_tokens if usage else 0,
    )
