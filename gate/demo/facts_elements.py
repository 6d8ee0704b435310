"""Symbols and atomic numbers of the chemical elements. Source: package periodictable (public domain)."""

from __future__ import annotations

from dataclasses import dataclass

from gate.demo.questions import N_CHOICES, Question, draw

NEAR = 15  # largest difference between an atomic number and its distractors


@dataclass(frozen=True)
class Element:
    """A chemical element; its name has the American spelling of the source."""

    number: int
    symbol: str
    name: str


def elements() -> list[Element]:
    """Return the elements by atomic number, without the neutron, which the source lists as number 0."""
    import periodictable

    return [
        Element(element.number, element.symbol, element.name)
        for element in sorted(periodictable.elements, key=lambda element: element.number)
        if element.number > 0
    ]


def element_questions(table: list[Element]) -> list[Question]:
    """Return questions such as `The chemical symbol for gold is` (Au) and `The atomic number of gold is` (79).

    Wrong symbols start with the same letter if there are enough of them. Wrong numbers are close to the right one.
    """
    questions = []
    for element in table:
        others = [other for other in table if other.number != element.number]
        same_letter = [other.symbol for other in others if other.symbol[0] == element.symbol[0]]
        pool = same_letter if len(same_letter) >= N_CHOICES - 1 else [other.symbol for other in others]
        stem = f"The chemical symbol for {element.name} is"
        questions.append(Question(stem, element.symbol, draw(pool, stem)))
        near = [str(other.number) for other in others if abs(other.number - element.number) <= NEAR]
        stem = f"The atomic number of {element.name} is"
        questions.append(Question(stem, str(element.number), draw(near, stem)))
    return questions
