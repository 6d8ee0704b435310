"""A task from a file: multiple choice, or generated text that must match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gate.common.lm_eval import pick_choice
from gate.tasks.requests import (
    Answer,
    GenerateAnswer,
    GenerateRequest,
    LoglikelihoodAnswer,
    LoglikelihoodRequest,
    Render,
    Request,
    draw_seed,
)
from gate.tasks.scoring import exact_match
from gate.tasks.task import Item, Scored, Task


@dataclass(frozen=True)
class FileTask(Task):
    """See `Task`; built by `build_task` from settings that name a file.

    Attributes
    ----------
    slices : mapping of str to mapping of str to object
        Per field of `slices` in the settings, its value by item id. They are no facets: they change no score.
    """

    slices: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

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
        sampled = self.sampling.temperature > 0
        seed = draw_seed(self.sampling.seed, item.item_id, repeat) if sampled else 0
        stop = tuple(self.settings.stop)
        return (GenerateRequest(context, stop, self.max_tokens, self.sampling.temperature, seed),)

    def score(self, item: Item, answers: Sequence[Answer]) -> Scored:
        """Compare the picked choice, or the generated text, with the targets."""
        (answer,) = answers
        if isinstance(answer, LoglikelihoodAnswer):
            choice = pick_choice(answer.loglikelihoods, item.choices, self.metric)
            correct = choice == item.target_index
            return Scored(float(correct), correct, str(choice), answer.loglikelihoods)
        if not isinstance(answer, GenerateAnswer):
            raise TypeError(f"a task from a file has no answers of the type {type(answer).__name__}")
        correct = exact_match(answer.text, item.targets, self.settings.extract, self.settings.normalise)
        return Scored(float(correct), correct, answer.text)
