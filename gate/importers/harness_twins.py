"""Files of one folder that answer the same requests: two models under names that do not tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gate.errors import SampleError
from gate.importers.harness_rows import HarnessRow


def refuse_twins(path: Path, tasks: Mapping[str, Sequence[HarnessRow]]) -> None:
    """Raise SampleError if two tasks have the same requests and targets, but different answers.

    One model answers a request in one way, so these are two models, or two runs.
    """
    if len(tasks) < 2:
        return
    seen: dict[frozenset[object], tuple[str, frozenset[object]]] = {}
    for name, rows in tasks.items():
        requests: frozenset[object] = frozenset(map(_request, rows))
        answers: frozenset[object] = frozenset((_request(row), row.loglikelihoods, row.answer) for row in rows)
        other = seen.setdefault(requests, (name, answers))
        if other[1] != answers:
            raise SampleError(
                f"{path} holds two sets of answers to the same prompts: {other[0]} and {name}. They look like those of "
                "two models.",
                "Keep one model per folder, or choose one of them with --task NAME.",
            )


def _request(row: HarnessRow) -> tuple[object, ...]:
    return row.filter_name, row.doc_hash, row.prompt_hash, row.target, row.choices, row.generation
