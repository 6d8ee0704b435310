"""Turns facts into multiple-choice items: seeded distractors, one target, balanced positions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from gate.errors import TaskError

N_CHOICES = 4


@dataclass(frozen=True)
class Question:
    """A question whose choices have no positions yet: a sentence without its end, the right end, and wrong ends."""

    stem: str
    target: str
    distractors: tuple[str, ...]


@dataclass(frozen=True)
class Item:
    """One line of a task file: `gold` is the index of the right choice."""

    id: str
    question: str
    choices: tuple[str, ...]
    gold: int


def draw(pool: Sequence[str], key: str, count: int = N_CHOICES - 1) -> tuple[str, ...]:
    """Draw `count` different strings from `pool`; the same key and pool give the same strings.

    Each question has its own seed, so a fact that changes upstream does not change the other questions.
    """
    return tuple(random.Random(key).sample(sorted(set(pool)), count))  # noqa: S311 - not a secret


def make_items(task: str, questions: Sequence[Question]) -> tuple[Item, ...]:
    """Give each question an id and its target a position; every position is the right one equally often.

    Raises
    ------
    TaskError
        Two questions have the same stem, or a question has duplicate choices: the format of the source has changed.
    """
    stems = [question.stem for question in questions]
    if len(set(stems)) != len(stems):
        raise TaskError(f"demo task {task}: {len(stems) - len(set(stems))} duplicate question(s)")
    positions = [index % N_CHOICES for index in range(len(questions))]
    random.Random(task).shuffle(positions)  # noqa: S311
    items = []
    for number, (question, gold) in enumerate(zip(questions, positions, strict=True)):
        choices = list(draw(question.distractors, f"order/{task}/{question.stem}"))
        choices.insert(gold, question.target)
        if len(set(choices)) != N_CHOICES:
            raise TaskError(f"demo task {task}: {question.stem!r} has duplicate choices: {choices}")
        items.append(Item(f"{task}-{number:04d}", question.stem, tuple(choices), gold))
    return tuple(items)
