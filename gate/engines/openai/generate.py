"""Text generation with `/v1/completions`, and the answer in a generated text."""

from __future__ import annotations

from typing import Any

from gate.engines.openai.completions import Completions
from gate.engines.openai.sampling import explained, sampling_options
from gate.engines.openai.wire import Usage
from gate.errors import EvaluationError
from gate.tasks.reasoning import Separated, separate
from gate.tasks.requests import GenerateAnswer, GenerateRequest

_FINISH_REASONS = (None, "stop", "length", "eos", "eos_token", "stop_sequence")


async def generate(completions: Completions, prompt: list[int] | str, request: GenerateRequest) -> GenerateAnswer:
    """Return the text that the server generates, without its reasoning, cut before the first stop string.

    `prompt` is the request's context, as ids or as text.

    Raises
    ------
    EvaluationError
        The text ended for a reason other than end of text, length, or stop string; or the server refuses a setting.
    """
    options = sampling_options(completions.server, request) | stop_strings(request)
    try:
        completion = await completions.complete(prompt, max_tokens=request.max_tokens, **options)
    except EvaluationError as error:
        raise explained(error, completions.server, request) from None
    choice = completion.choices[0]
    opened = request.reasoning is not None and request.reasoning.opened_by(request.context)
    separated = separate(choice.text, request.reasoning, opened)
    return finished(request, separated, choice.finish_reason, completion.usage)


def stop_strings(request: GenerateRequest) -> dict[str, Any]:
    """Return the stop strings of a request's body.

    A server would also stop in reasoning, so it does not get them if reasoning is separated; see `finished`.
    """
    return {"stop": list(request.stop)} if request.stop and request.reasoning is None else {}


def finished(
    request: GenerateRequest, separated: Separated, finish_reason: str | None, usage: Usage | None
) -> GenerateAnswer:
    """Return the answer to a request: cut before the first stop string, with the reason why the text ended.

    Raises
    ------
    EvaluationError
        The text ended for another reason than end of text, length, or stop string.
    """
    if finish_reason not in _FINISH_REASONS:
        prompt = request.messages[-1].content if request.messages else request.context
        raise EvaluationError(
            f"the server ended a text for the reason {finish_reason!r}, after {prompt[-40:]!r}.",
            "Expected end of text, length, or a stop string; check the server's log.",
        )
    text = separated.answer
    ends = [index for stop in request.stop if (index := text.find(stop)) >= 0]
    return GenerateAnswer(
        text[: min(ends)] if ends else text,
        usage.prompt_tokens if usage else 0,
        usage.completion_tokens if usage else 0,
        finish_reason="length" if finish_reason == "length" and not ends else "stop" if finish_reason else None,
        reasoning=separated.reasoning,
        reasoning_closed=separated.closed,
    )
