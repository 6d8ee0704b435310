"""Tasks of one folder that answer the same requests: two models under names that do not tell."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path

from gate.errors import SampleError


def refuse_twins(path: Path, tasks: Mapping[str, Iterable[tuple[Hashable, Hashable]]]) -> None:
    """Raise SampleError if two tasks have the same requests and targets, but different answers.

    One model answers a request in one way, so these are two models, or two runs. `tasks` are pairs of a request (with
    its target) and its answer.
    """
    seen: dict[frozenset[object], tuple[str, frozenset[object]]] = {}
    for name, pairs in tasks.items():
        answers: frozenset[tuple[Hashable, Hashable]] = frozenset(pairs)
        requests = frozenset(request for request, _ in answers)
        other = seen.setdefault(requests, (name, answers))
        if other[1] != answers:
            raise SampleError(
                f"{path} holds two sets of answers to the same prompts: {other[0]} and {name}. They look like those of "
                "two models.",
                "Keep one model per folder, or choose one of them with --task NAME.",
            )
