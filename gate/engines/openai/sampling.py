"""The names under which servers know the sampling settings."""

from __future__ import annotations

from typing import Any

from gate.engines.openai.client import RefusedError
from gate.engines.openai.server import Server
from gate.errors import EvaluationError
from gate.tasks.requests import GenerateRequest

_HF_NAMES = {"top_k": "top_k", "min_p": "min_p", "repetition_penalty": "repetition_penalty"}
_NAMES = {
    "vllm": _HF_NAMES,
    "sglang": _HF_NAMES,
    "llama.cpp": {**_HF_NAMES, "repetition_penalty": "repeat_penalty"},
    "unknown": _HF_NAMES,
    "tgi": {},  # its OpenAI routes have none of them
}
_NEUTRAL = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
_ALL_TOKENS = {"vllm": -1, "sglang": -1}
"""The value of top_k that keeps all tokens, where it is not 0."""
# llama.cpp applies the temperature last by default, and a penalty to the last 64 tokens
_LLAMA_ORDER = ["penalties", "temperature", "top_k", "top_p", "min_p"]
_LONG_CONTEXT = 32_768  # tokens, where llama.cpp does not tell its own
_REJECTED = (400, 422)


def sampling_options(server: Server, request: GenerateRequest) -> dict[str, Any]:
    """Return the fields of a request's body that say how tokens are sampled.

    Settings without effect are sent too where the server is known: its own defaults may come from the model's
    generation_config.json.

    Raises
    ------
    EvaluationError
        The server has no such setting.
    """
    names = _NAMES[server.kind]
    values = {name: getattr(request, name) for name in _NEUTRAL}
    changed = _changed(request)
    missing = [name for name in changed if name not in names]
    if missing:
        raise EvaluationError(
            f"the server {server.kind} has no {' and no '.join(missing)} in its OpenAI-compatible routes.",
            f"Remove {', '.join(missing)} from `sampling:`, or use vLLM, SGLang or llama.cpp.",
        )
    body: dict[str, Any] = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "frequency_penalty": 0,
        "presence_penalty": 0,
    }
    # an unknown server, which may be OpenAI's own, refuses fields that it does not know
    sent = changed if server.kind == "unknown" else list(names)
    body |= {names[name]: values[name] for name in sent}
    if request.top_k == 0 and server.kind in _ALL_TOKENS:
        body["top_k"] = _ALL_TOKENS[server.kind]
    if server.kind == "llama.cpp":
        body |= {"typical_p": 1, "cache_prompt": True}
        if request.repetition_penalty != 1:
            body["repeat_last_n"] = server.max_length or _LONG_CONTEXT
        if request.temperature > 0:
            body["samplers"] = _LLAMA_ORDER
    return body


def doubtful_settings(server: Server, request: GenerateRequest) -> list[str]:
    """Return the settings that a server of an unknown kind may ignore."""
    return _changed(request) if server.kind == "unknown" else []


def _changed(request: GenerateRequest) -> list[str]:
    return [name for name, neutral in _NEUTRAL.items() if getattr(request, name) != neutral]


def explained(error: EvaluationError, server: Server, request: GenerateRequest) -> EvaluationError:
    """Return the error of a failed request for a text, with its prompt and the settings that the server may refuse."""
    prompt = request.messages[-1].content if request.messages else request.context
    where = f"{error.message.rstrip('.')}. The prompt ends with {prompt.strip()[-40:]!r}."
    changed = {name: getattr(request, name) for name in _changed(request)}
    if request.temperature > 0:
        changed |= {"temperature": request.temperature, "top_p": request.top_p, "seed": request.seed}
    if not (isinstance(error, RefusedError) and error.status in _REJECTED and changed):
        return EvaluationError(where, error.hint)
    named = [name for name in changed if name in error.message or _NAMES[server.kind].get(name, name) in error.message]
    listed = ", ".join(f"{name} {changed[name]:g}" for name in named or changed)
    blamed = "does not accept" if named else "may not accept"
    return EvaluationError(f"{where} The server {blamed}: {listed}.", "Change or remove it in `sampling:`.")
