"""Generation settings of LM Evaluation Harness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gate.errors import TaskError

_DEFAULT_TOKENS = 256  # default of lm-eval's own models
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_TRUNCATION = {"top_p": (1, None), "top_k": (0, -1, None), "min_p": (0, None), "typical_p": (1, None)}
"""Settings that sample from a part of the vocabulary, with the values that disable each."""


@dataclass(frozen=True)
class Generation:
    """Stop strings, length and temperature of a generated text; see `GenerateRequest`."""

    stop: tuple[str, ...]
    max_tokens: int
    temperature: float


def generation(settings: Mapping[str, Any], where: str, temperature: float = 0.0) -> Generation:
    """Read the `generation_kwargs` of a request, with the defaults of lm-eval 0.4.

    A `temperature` above 0 overrides that of the settings. `where` names the task in messages.

    Raises
    ------
    TaskError
        The settings ask for beam search, nucleus sampling or another unsupported method.
    """
    supported = {"until", "do_sample", "temperature", *_LENGTHS, *_TRUNCATION}
    unsupported = sorted(set(settings) - supported)
    if unsupported:
        raise TaskError(
            f"{where}: generation_kwargs sets {', '.join(unsupported)}, which is not supported.",
            f"Supported are {', '.join(sorted(supported))}.",
        )
    own = float(settings.get("temperature") or 0.0)
    do_sample = settings.get("do_sample")
    if do_sample is False or (do_sample is None and own == 0):
        own = 0.0
    elif own == 0 and temperature == 0:
        raise TaskError(
            f"{where}: generation_kwargs sets do_sample: true without a temperature.",
            "Set samples.temperature in gate.yml, or a temperature in the task's file.",
        )
    effective = temperature or own
    truncation = [
        f"{name} {settings[name]}"
        for name, disabled in _TRUNCATION.items()
        if name in settings and settings[name] not in disabled
    ]
    if effective > 0 and truncation:
        raise TaskError(
            f"{where}: generation_kwargs sets {', '.join(truncation)}; tokens are sampled from the whole vocabulary "
            "only.",
            "Use a task that samples by temperature alone, or decodes greedily.",
        )
    lengths = [settings[name] for name in _LENGTHS if settings.get(name) is not None]
    until = settings.get("until") or []
    stop = tuple(str(text) for text in ([until] if isinstance(until, str) else until) if text)
    return Generation(stop, int(lengths[0]) if lengths else _DEFAULT_TOKENS, effective)
