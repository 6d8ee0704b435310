"""Multiple-choice questions from facts: seeded distractors, one right answer, balanced positions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from gate.errors import TaskError

N_CHOICES = 4


@dataclass(frozen=True)
class Question:
    """One stem with its right answer and the wrong ones, before the answers get their places.

    Parameters
    ----------
    stem : str
        The beginning of a sentence; the answer ends it.
    answer : str
        The one right ending.
    distractors : tuple of str
        Wrong endings, all different, none of them also right.
    """

    stem: str
    answer: str
    distractors: tuple[str, ...]


@dataclass(frozen=True)
class Item:
    """One line of a task file: `gold` is the index of the right choice."""

    id: str
    question: str
    choices: tuple[str, ...]
    gold: int


def draw(pool: Sequence[str], key: str, count: int = N_CHOICES - 1) -> tuple[str, ...]:
    """Draw `count` different strings from `pool`, always the same ones for the same key and pool.

    The generator is seeded per question, so that a fact that changes upstream changes its own question
    and not all those after it.
    """
    return tuple(random.Random(key).sample(sorted(set(pool)), count))  # noqa: S311 (no secret is made here)


def place(task: str, questions: Sequence[Question]) -> tuple[Item, ...]:
    """Give every question an id and its right answer a position; each position is right equally often.

    Raises
    ------
    TaskError
        Two questions have the same stem, or a question has a choice twice: the source changed its shape.
    """
    stems = [question.stem for question in questions]
    if len(set(stems)) != len(stems):
        raise TaskError(f"demo task {task}: {len(stems) - len(set(stems))} question(s) occur twice")
    positions = [index % N_CHOICES for index in range(len(questions))]
    random.Random(task).shuffle(positions)  # noqa: S311
    items = []
    for number, (question, gold) in enumerate(zip(questions, positions, strict=True)):
        choices = list(draw(question.distractors, f"order/{task}/{question.stem}"))
        choices.insert(gold, question.answer)
        if len(set(choices)) != N_CHOICES:
            raise TaskError(f"demo task {task}: {question.stem!r} has a choice twice: {choices}")
        items.append(Item(f"{task}-{number:04d}", question.stem, tuple(choices), gold))
    return tuple(items)
