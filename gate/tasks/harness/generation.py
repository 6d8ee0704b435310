"""Generation settings of LM Evaluation Harness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gate.errors import TaskError
from gate.tasks.sampling import Sampling

_DEFAULT_TOKENS = 256  # default of lm-eval's own models
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_NO_EFFECT = {"top_p": (1, None), "top_k": (0, -1, None), "min_p": (0, None), "repetition_penalty": (1, None)}
"""Settings of sampling, with the values that disable each."""
_GREEDY = Sampling()


@dataclass(frozen=True)
class Generation:
    """Stop strings, length and sampling of a generated text; see `GenerateRequest`."""

    stop: tuple[str, ...]
    max_tokens: int
    sampling: Sampling


def generation(settings: Mapping[str, Any], where: str, sampling: Sampling = _GREEDY) -> Generation:
    """Read the `generation_kwargs` of a request, with the defaults of lm-eval 0.4.

    What `sampling` sets overrides the settings. `where` names the task in messages.

    Raises
    ------
    TaskError
        The settings ask for beam search, typical sampling or another unsupported method.
    """
    supported = {"until", "do_sample", "temperature", "typical_p", *_LENGTHS, *_NO_EFFECT}
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
    elif own == 0 and sampling.temperature == 0:
        raise TaskError(
            f"{where}: generation_kwargs sets do_sample: true without a temperature.",
            "Set samples.temperature in gate.yml, or a temperature in the task's file.",
        )
    effective = sampling.temperature or own
    if effective > 0 and settings.get("typical_p") not in (1, None):
        raise TaskError(
            f"{where}: generation_kwargs sets typical_p {settings['typical_p']}, which is not supported.",
            "Use a task that samples by temperature, top_k, top_p and min_p, or decodes greedily.",
        )
    given = {
        name: settings[name]
        for name, disabled in _NO_EFFECT.items()
        if settings.get(name) not in disabled and getattr(sampling, name) == getattr(_GREEDY, name)
    }
    lengths = [settings[name] for name in _LENGTHS if settings.get(name) is not None]
    until = settings.get("until") or []
    stop = tuple(str(text) for text in ([until] if isinstance(until, str) else until) if text)
    length = int(lengths[0]) if lengths else _DEFAULT_TOKENS
    return Generation(stop, length, replace(sampling, temperature=effective, **given))
