"""Compare the stacks that two sample sets were evaluated on; see `gate.engines.stack`."""

from __future__ import annotations

import re
from collections.abc import Mapping

STACK = "stack"
"""Key of the recorded stack among the facts about a model."""

_DTYPES = ("bfloat16", "float16", "float32")
_LABELS = {
    "dtype": "compute dtype",
    "max_batch_tokens": "engine.max_batch_tokens",
    "concurrency": "engine.concurrency",
    "replicas": "engine.replicas",
    "args": "engine.args",
    "env": "engine.env",
    "command": "engine.command",
    "attention": "attention implementation",
    "scoring": "scoring version",
    "instructions": "CPU instructions",
    "features": "CPU features",
    "threads": "CPU threads",
}

Differences = dict[str, tuple[str, str]]
"""By name of the fact, its values on the two stacks."""


def known_stack(about: Mapping[str, object]) -> dict[str, str]:
    """Return the stack that the facts about a model record.

    Sets of older versions do not record a stack. What follows from their other facts is returned; the rest is unknown.
    """
    recorded = about.get(STACK)
    if isinstance(recorded, Mapping) and recorded:
        return {str(key): str(value) for key, value in recorded.items()}
    engine, device, versions = str(about.get("engine", "")), str(about.get("device", "")), about.get("versions")
    facts = {}
    if kind := re.match(r"(transformers|openai)\(", engine):
        facts["engine"] = kind[1]
    if kind and kind[1] == "openai":
        facts["server"] = engine[kind.end() : -1].strip()
    elif device:
        facts["device"] = device.partition(":")[0]
        hardware = str(about.get("hardware", ""))
        if facts["device"] == "cuda" and "replicas" not in hardware:
            facts["hardware"] = hardware
    if isinstance(versions, Mapping):
        facts |= {name: str(versions[name]) for name in ("torch", "transformers") if name in versions}
    if about.get("loaded_dtype") in _DTYPES:
        facts["dtype"] = str(about["loaded_dtype"])
    return facts


def stack_differences(first: Mapping[str, str], second: Mapping[str, str]) -> Differences:
    """Return the facts that both stacks record with different values. A fact that one side lacks is unknown."""
    return {key: (first[key], second[key]) for key in first if key in second and first[key] != second[key]}


def describe(differences: Mapping[str, tuple[str, str]]) -> str:
    """Return differences as text: `hardware: A against B; compute dtype: ...`."""
    return "; ".join(
        f"{_LABELS.get(key, key)}: {a} against {b}"
        for key, (a, b) in ((key, _only_different(key, *pair)) for key, pair in differences.items())
    )


def _only_different(key: str, first: str, second: str) -> tuple[str, str]:
    """Leave out the CPU features that both sides have."""
    if key not in ("instructions", "features"):
        return first, second
    words = first.split(), second.split()
    a, b = ([word for word in own if word not in other] for own, other in (words, words[::-1]))
    return " ".join(a) or "none more", " ".join(b) or "none more"
