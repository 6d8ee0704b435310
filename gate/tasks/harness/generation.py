"""The generation settings of LM Evaluation Harness, in our words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gate.errors import TaskError

_DEFAULT_TOKENS = 256  # of lm-eval's own models
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_NARROWING = {"top_p": (1, None), "top_k": (0, -1, None), "min_p": (0, None), "typical_p": (1, None)}
"""Ways to draw from a part of the vocabulary only, and the values that switch each off."""


@dataclass(frozen=True)
class Generation:
    """How a text is generated: see `GenerateRequest`."""

    stop: tuple[str, ...]
    max_tokens: int
    temperature: float


def generation(settings: Mapping[str, Any], where: str, temperature: float = 0.0) -> Generation:
    """Read the `generation_kwargs` of a request, with the defaults of lm-eval 0.4.

    Parameters
    ----------
    settings : mapping
    where : str
        The task, for messages.
    temperature : float
        Replaces the settings' own where it is above 0.

    Raises
    ------
    TaskError
        Settings that no engine of ours follows: beam search, nucleus sampling, ...
    """
    known = {"until", "do_sample", "temperature", *_LENGTHS, *_NARROWING}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise TaskError(
            f"{where}: generation_kwargs asks for {', '.join(unknown)}, which is not supported.",
            f"Supported are {', '.join(sorted(known))}.",
        )
    own = float(settings.get("temperature") or 0.0)
    sampled = settings.get("do_sample")
    if sampled is False or (sampled is None and own == 0):
        own = 0.0
    elif own == 0 and temperature == 0:
        raise TaskError(
            f"{where}: generation_kwargs says do_sample: true without a temperature.",
            "Set samples.temperature in gate.yml, or a temperature in the task's file.",
        )
    drawn = temperature or own
    narrowed = [
        f"{name} {settings[name]}"
        for name, off in _NARROWING.items()
        if name in settings and settings[name] not in off
    ]
    if drawn > 0 and narrowed:
        raise TaskError(
            f"{where}: generation_kwargs asks for {', '.join(narrowed)}; texts are drawn from the whole vocabulary.",
            "Use a task that samples by temperature alone, or one that is greedy.",
        )
    lengths = [settings[name] for name in _LENGTHS if settings.get(name) is not None]
    until = settings.get("until") or []
    stop = tuple(str(one) for one in ([until] if isinstance(until, str) else until) if one)
    return Generation(stop, int(lengths[0]) if lengths else _DEFAULT_TOKENS, drawn)
