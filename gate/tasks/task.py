"""What a task is: its items, how they are scored, and the fingerprint of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gate.config import TaskSettings
from gate.tasks.canonical import digest


@dataclass(frozen=True)
class Message:
    """One turn of a chat: role `system`, `user` or `assistant`, and its text."""

    role: str
    content: str


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
    """

    item_id: str
    question: str
    context: str
    messages: tuple[Message, ...]
    choices: tuple[str, ...]
    gold: int | None
    answers: tuple[str, ...]
    cluster: str | None

    @property
    def target(self) -> str:
        """The right answer as one text, as it is stored with a sample."""
        return str(self.gold) if self.gold is not None else " | ".join(self.answers)


@dataclass(frozen=True)
class Task:
    """A named list of items and how they are scored.

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

    @property
    def metric(self) -> str:
        """Name of the metric: acc, acc_norm or exact_match."""
        return self.settings.resolved_metric

    @property
    def delimiter(self) -> str:
        """What stands between context and choice; a chat template brings its own."""
        return "" if self.settings.chat_template else self.settings.target_delimiter

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the facets."""
        return digest(dict(self.facets))
