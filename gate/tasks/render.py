"""Renders the templates of a task for one document: prompt, choices and accepted answers."""

from __future__ import annotations

from dataclasses import dataclass

from gate.common.indices import parse_index
from gate.config import TaskSettings
from gate.errors import TaskError
from gate.tasks.documents import Document
from gate.tasks.scorers import Scorer
from gate.tasks.templates import Template


@dataclass(frozen=True)
class Rendered:
    """The rendered templates of one document, without few-shot examples."""

    document: Document
    prompt: str
    choices: tuple[str, ...]
    target_index: int | None
    targets: tuple[str, ...]
    turns: tuple[str, ...] = ()
    turn_targets: tuple[tuple[str, ...], ...] = ()


class Renderer:
    """The compiled templates of a task."""

    def __init__(self, settings: TaskSettings, scorer: Scorer | None) -> None:
        self.settings, self.scorer = settings, scorer
        self.prompt = Template(str(settings.prompt), "prompt")
        self.answer = None if settings.answer is None else Template(settings.answer, "answer")
        self.choices = _templates(settings.choices, "choices")
        self.turns = _templates(settings.turns, "turns")

    def render(self, document: Document) -> Rendered:
        """Return the rendered templates.

        Raises
        ------
        TaskError
            A template or its value does not fit the document.
        """
        if self.settings.turns is not None:
            return self._turns(document)
        prompt = self.prompt.text(document)
        if self.settings.kind == "multiple_choice":
            choices = self._choices(document)
            index = self._target_index(document, choices)
            return Rendered(document, prompt, choices, index, (choices[index],))
        return Rendered(document, prompt, (), None, self._targets(document))

    def _turns(self, document: Document) -> Rendered:
        value = _values(self.turns, document)
        if not isinstance(value, list | tuple) or not value or not all(str(turn).strip() for turn in value):
            raise TaskError(
                f"{document.where}: turns gave {_short(value)}; expected a list of user messages.",
                "For a cell that holds JSON text write {{ field | fromjson }}.",
            )
        turns = tuple(map(str, value))
        prompt = "\n\n".join(turns)
        if self.settings.score_turns == "last" or self.answer is None:
            return Rendered(document, prompt, (), None, self._targets(document), turns)
        answers = self.answer.value(document)
        if not isinstance(answers, list | tuple) or len(answers) != len(turns):
            raise TaskError(
                f"{document.where}: answer gave {_short(answers)}; expected a list with one entry for each of the "
                f"{len(turns)} turns.",
                "Or set score_turns: last.",
            )
        targets = tuple(self._accepted(answer, document) for answer in answers)
        return Rendered(document, prompt, (), None, (), turns, targets)

    def _choices(self, document: Document) -> tuple[str, ...]:
        value = _values(self.choices, document)
        if not isinstance(value, list | tuple) or len(value) < 2:
            raise TaskError(
                f"{document.where}: choices gave {_short(value)}; expected a list of at least two.",
                "For a cell that holds JSON text write {{ field | fromjson }}.",
            )
        choices = tuple(str(choice) for choice in value)
        if "" in choices or len(set(choices)) < len(choices):
            raise TaskError(f"{document.where}: choices must be non-empty and distinct; found {_short(value)}.")
        return choices

    def _target_index(self, document: Document, choices: tuple[str, ...]) -> int:
        """Return the index of the target, given as a choice's text, an index, or a letter (A is the first choice).

        A text that equals a choice is never read as an index or a letter.
        """
        value = None if self.answer is None else self.answer.value(document)
        text = str(value).strip()
        if isinstance(value, str) and value in choices:
            return choices.index(value)
        index: int | None = None
        if isinstance(value, int) and not isinstance(value, bool):
            index = value
        elif isinstance(value, float) and value.is_integer():
            index = int(value)
        elif isinstance(value, str) and text.isdecimal():
            index = parse_index(text, len(choices))
        elif isinstance(value, str) and len(text) == 1 and "A" <= text <= "Z":
            index = ord(text) - ord("A")
        if index is None or not 0 <= index < len(choices):
            raise TaskError(
                f"{document.where}: answer gave {_short(value)}; expected an index from 0 to "
                f"{len(choices) - 1}, a letter from A to {chr(ord('A') + len(choices) - 1)}, or one of the choices.",
                "Indices start at 0. If yours start at 1, subtract one in the template.",
            )
        return index

    def _targets(self, document: Document) -> tuple[str, ...]:
        return () if self.answer is None else self._accepted(self.answer.value(document), document)

    def _accepted(self, value: object, document: Document) -> tuple[str, ...]:
        targets = tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)
        if value is None or not targets or any(not target.strip() for target in targets):
            raise TaskError(f"{document.where}: answer gave {_short(value)}; expected a text or a list of texts.")
        for target in targets:
            problem = None if self.scorer is None else self.scorer.problem_with(target)
            if problem is not None:
                raise TaskError(f"{document.where}: answer gave {_short(value)}, {problem[0]}.", problem[1])
        return targets


def _templates(sources: str | list[str] | None, key: str) -> Template | list[Template]:
    """Return the template of an expression for a list, or one template per entry."""
    return [Template(source, key) for source in sources] if isinstance(sources, list) else Template(sources or "", key)


def _values(templates: Template | list[Template], document: Document) -> object:
    if isinstance(templates, list):
        return [template.text(document) for template in templates]
    return templates.value(document)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
