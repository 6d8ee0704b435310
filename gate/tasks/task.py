"""What a task is: its items, what an engine is asked about each, how answers are scored, and the fingerprint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gate.canonical import digest
from gate.config import SampleSettings, TaskSettings
from gate.tasks.requests import Answer, Message, Render, Request


@dataclass(frozen=True)
class Item:
    """One question, ready to be put to an engine.

    Attributes
    ----------
    item_id : str
        SHA-256 of the canonical document.
    question : str
        The document's own prompt, without examples: what a report shows.
    context : str
        Everything before the answer: description, examples, question. Empty where `messages` is set.
    messages : tuple of Message
        The same as a chat; the engine renders it with the tokenizer's template.
    choices : tuple of str
        Answers to choose from, in order (multiple_choice), else empty.
    gold : int or None
        0-based index of the right choice (multiple_choice).
    answers : tuple of str
        Accepted answers; for multiple_choice the right choice's text alone.
    cluster : str or None
        Items with the same value belong together.
    subtask : str or None
        Which part of a group of tasks the item is of; None where the task has no parts.
    """

    item_id: str
    question: str
    context: str
    messages: tuple[Message, ...]
    choices: tuple[str, ...]
    gold: int | None
    answers: tuple[str, ...]
    cluster: str | None
    subtask: str | None = None

    @property
    def target(self) -> str:
        """The right answer as one text, as it is stored with a sample."""
        return str(self.gold) if self.gold is not None else " | ".join(self.answers)


@dataclass(frozen=True)
class Scored:
    """An answer and its score: what a sample keeps of it.

    Attributes
    ----------
    score : float
        Larger is better.
    correct : bool or None
        None where an answer is not simply right or wrong.
    output : str or None
        The text, or the index of the choice.
    loglikelihoods : tuple of float
        Of the choices, in nats; empty where a text was generated.
    """

    score: float
    correct: bool | None
    output: str | None
    loglikelihoods: tuple[float, ...] = ()


@dataclass(frozen=True)
class Sampling:
    """How often, how freely and from which seed texts are generated.

    Attributes
    ----------
    repeats : int
        Answers per item.
    temperature : float
        0 is greedy.
    seed : int
    """

    repeats: int = 1
    temperature: float = 0.0
    seed: int = 0

    @classmethod
    def of(cls, samples: SampleSettings) -> Sampling:
        """Return what `samples` of gate.yml asks of a task that generates."""
        return cls(samples.repeats, samples.temperature, samples.seed)

    @property
    def facets(self) -> dict[str, str]:
        """The part of a task's fingerprint; a seed matters only where something is drawn."""
        facets = {"repeats": str(self.repeats), "temperature": f"{self.temperature:g}"}
        return facets | ({"sampling_seed": str(self.seed)} if self.temperature > 0 else {})


@dataclass(frozen=True)
class Task(ABC):
    """A named list of items, what is asked about each, and how answers are scored.

    Attributes
    ----------
    facets : mapping of str to str
        Everything that decides what is asked and how it is scored, a short text a facet. Two sample sets
        may be compared only where all agree; where not, the differing facets are the message.
    """

    name: str
    settings: TaskSettings
    items: tuple[Item, ...]
    facets: Mapping[str, str]
    sampling: Sampling

    @property
    @abstractmethod
    def metric(self) -> str:
        """Name of the metric that `score` gives; larger is better."""

    @property
    @abstractmethod
    def generates(self) -> bool:
        """Whether texts are generated: the tokens that end a text then matter."""

    @property
    @abstractmethod
    def max_tokens(self) -> int:
        """Longest text that is generated for an item, in tokens; 0 where none is."""

    @property
    @abstractmethod
    def measures_kl(self) -> bool:
        """Whether every item has a distribution after its prompt that two models can be compared by."""

    @abstractmethod
    def requests(self, item: Item, repeat: int, render: Render) -> tuple[Request, ...]:
        """Return what an engine is asked for one answer to an item; the first request carries the item's prompt.

        Parameters
        ----------
        item : Item
            One of `items`.
        repeat : int
            0 to `repeats` - 1.
        render : callable
            Makes a chat a prompt.
        """

    @abstractmethod
    def score(self, item: Item, answers: Sequence[Answer]) -> Scored:
        """Score the answers to `requests`, one a request, in their order."""

    @property
    def repeats(self) -> int:
        """Answers per item."""
        return self.sampling.repeats

    @property
    def role(self) -> Literal["gating", "advisory"]:
        """Whether the task can fail the gate."""
        return self.settings.role

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the facets."""
        return digest(dict(self.facets))
