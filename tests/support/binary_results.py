"""Results of comparing two models on tasks with binary scores."""

from __future__ import annotations

from typing import Any

from gate.config import DecisionSettings
from gate.decision import decide
from gate.importers.build import task_samples
from gate.report import Result, build_result
from gate.samples import ModelSamples, TaskSamples, pair


def answered(task: str, right: list[bool], **columns: Any) -> TaskSamples:
    """Return the samples of a task with the given scores; `columns` replace or extend the default columns."""
    count = len(right)
    base: dict[str, Any] = {
        "item_id": [f"{task}-{n:03}" for n in range(count)],
        "score": [float(value) for value in right],
        "target": ["0"] * count,
        "output": ["0" if value else "1" for value in right],
        "prompt": [f"Question {n} of {task}?" for n in range(count)],
        "choices": [["yes", "no", "perhaps"]] * count,
    }
    return task_samples(task, "acc", {**base, **columns})


def result_of(
    tasks: dict[str, tuple[list[bool], list[bool]]],
    labels: tuple[str, str] = ("org/base", "out/awq"),
    **options: Any,
) -> Result:
    """Return the result of comparing the scores of two models, given per task."""
    sides = [
        ModelSamples(
            label,
            {name: answered(name, scores[side]) for name, scores in tasks.items()},
            options.get("about", [{}, {}])[side],
            options.get("notes", ()),
        )
        for side, label in enumerate(labels)
    ]
    settings = DecisionSettings(draws=10_000, **options.get("settings", {}))
    pairing = pair(*sides)
    decision = decide(pairing.tasks, settings, roles=options.get("roles"), seed=7)
    return build_result(decision, pairing, *sides, settings, 7, ["gate compare a b"], 1.5)


def answers(b: int, c: int, n: int) -> tuple[list[bool], list[bool]]:
    """Return the scores of both models on n items, of which b are regressions and c are improvements."""
    rest = [index % 3 > 0 for index in range(n - b - c)]
    return [True] * b + [False] * c + rest, [False] * b + [True] * c + rest
