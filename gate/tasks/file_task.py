"""A task from a file: multiple choice, or generated text with a scorer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gate.common.canonical import canonical_json
from gate.common.lm_eval import pick_choice
from gate.tasks.chat import Message, Render
from gate.tasks.requests import (
    Answer,
    GenerateAnswer,
    GenerateRequest,
    LoglikelihoodAnswer,
    LoglikelihoodRequest,
    Request,
    draw_seed,
)
from gate.tasks.scorers import Grade, Scorer
from gate.tasks.scoring import extract
from gate.tasks.task import Item, Scored, Task


@dataclass(frozen=True)
class FileTask(Task):
    """See `Task`; built by `build_task` from settings that name a file.

    Attributes
    ----------
    slices : mapping of str to mapping of str to object
        Per field of `slices` in the settings, its value by item id. They are no facets: they change no score.
    scorer : Scorer or None
        Of generated texts; None for multiple choice.
    documents : mapping of str to mapping
        By item id, for a scorer that reads documents.
    """

    slices: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    scorer: Scorer | None = None
    documents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    @property
    def delimiter(self) -> str:
        """Text between context and choice; empty with a chat template, which has its own."""
        return "" if self.settings.chat_template else self.settings.target_delimiter

    def requests(self, item: Item, repeat: int, render: Render) -> tuple[Request, ...]:
        """Return the single request of an answer: all choices together, or one text."""
        context = render(item.messages) if item.messages else item.context
        if not self.generates:
            choices = tuple(self.delimiter + choice for choice in item.choices)
            return (LoglikelihoodRequest(context, choices),)
        return (self._text(item.item_id, repeat, context, item.messages),)

    def follow_up(self, item: Item, repeat: int, render: Render, answers: Sequence[Answer]) -> tuple[Request, ...]:
        """Return the request for the next turn, after the model's own answers to the earlier ones."""
        count = len(answers)
        if count >= len(item.turns):
            return ()
        messages = list(item.messages)
        for answer, turn in zip(answers, item.turns[1:], strict=False):
            assert isinstance(answer, GenerateAnswer)  # noqa: S101 - the requests are for texts
            messages += [Message("assistant", answer.text), Message("user", turn)]
        return (self._text(f"{item.item_id}:{count}", repeat, render(tuple(messages)), messages),)

    def _text(self, name: str, repeat: int, context: str, messages: Sequence[Message]) -> GenerateRequest:
        seed = draw_seed(self.sampling.seed, name, repeat)
        return self.text_request(context, messages, tuple(self.settings.stop), self.max_tokens, self.sampling, seed)

    def score(self, item: Item, answers: Sequence[Answer]) -> Scored:
        """Compare the picked choice with the target, or score the generated texts: the last turn's or each."""
        first = answers[0]
        if isinstance(first, LoglikelihoodAnswer):
            choice = pick_choice(first.loglikelihoods, item.choices, self.metric)
            correct = choice == item.target_index
            return Scored(float(correct), correct, str(choice), first.loglikelihoods)
        texts = [answer.text for answer in answers if isinstance(answer, GenerateAnswer)]
        if len(texts) < len(answers):
            raise TypeError("a task from a file asks for log-likelihoods of choices, or for texts")
        if self.settings.score_turns == "last":
            grade = self._grade(item, texts[-1], item.targets)
            whole = self.settings.judge is not None and len(texts) > 1  # a judge reads the whole conversation
            output = canonical_json(texts) if whole else texts[-1]
            return Scored(grade.score, grade.correct, output, readable=grade.readable)
        targets = item.turn_targets or ((),) * len(texts)
        grades = [self._grade(item, text, accepted) for text, accepted in zip(texts, targets, strict=True)]
        mean = sum(grade.score for grade in grades) / len(grades)
        return Scored(mean, None, canonical_json(texts), readable=all(grade.readable for grade in grades))

    def _grade(self, item: Item, text: str, targets: Sequence[str]) -> Grade:
        if self.scorer is None:
            raise TypeError("a generated text needs a scorer")
        extracted = extract(text, self.settings.extract)
        grade = self.scorer.grade(extracted, targets, self.documents.get(item.item_id, {}))
        return replace(grade, readable=grade.readable and (bool(extracted) or self.settings.extract is None))
