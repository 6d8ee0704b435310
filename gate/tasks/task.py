"""The interface of a task: items, requests to an engine, scoring of answers, and the fingerprint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gate.common.canonical import canonical_json, digest
from gate.config import TaskSettings
from gate.tasks.chat import ChatFormat, Message, Render
from gate.tasks.reasoning import ReasoningTags
from gate.tasks.requests import Answer, GenerateRequest, Request
from gate.tasks.sampling import Sampling


@dataclass(frozen=True)
class Item:
    """One document to answer, with its rendered prompt.

    Attributes
    ----------
    item_id : str
        SHA-256 of the canonical document.
    prompt : str
        The document's own prompt, without few-shot examples, as reports show it.
    context : str
        The whole text before the answer: description, few-shot examples and prompt. Empty if `messages` is set.
    messages : tuple of Message
        The context as a chat, which the engine renders with the tokenizer's template, or sends to a chat route.
    choices : tuple of str
        Choices in order (multiple choice), else empty.
    target_index : int or None
        0-based index of the target (multiple choice).
    targets : tuple of str
        Accepted answers; for multiple choice only the text of the target.
    cluster : str or None
        Items with the same value are dependent.
    subtask : str or None
        Subtask of the item; None if the task is not a group.
    turns : tuple of str
        The user messages of a chat with several turns, the first included; else empty.
    turn_targets : tuple of tuple of str
        Accepted answers per turn, if each is scored; else empty.
    """

    item_id: str
    prompt: str
    context: str
    messages: tuple[Message, ...]
    choices: tuple[str, ...]
    target_index: int | None
    targets: tuple[str, ...]
    cluster: str | None
    subtask: str | None = None
    turns: tuple[str, ...] = ()
    turn_targets: tuple[tuple[str, ...], ...] = ()

    @property
    def target(self) -> str:
        """The right answer as it is stored with a sample: an index, or the accepted texts."""
        if self.turn_targets:
            return canonical_json([" | ".join(targets) for targets in self.turn_targets])
        return str(self.target_index) if self.target_index is not None else " | ".join(self.targets)


@dataclass(frozen=True)
class Scored:
    """The answer to an item, and its score.

    Attributes
    ----------
    score : float
        Larger is better.
    correct : bool or None
        None if the score is not binary.
    output : str or None
        The generated text, or the index of the choice.
    loglikelihoods : tuple of float
        Log-likelihoods of the choices, in nats; empty for generated text.
    readable : bool or None
        Whether an answer could be extracted from the generated text, in the form that the scorer reads.
    text_words, text_bytes : int or None
        Words and UTF-8 bytes of the text whose likelihood is scored.
    """

    score: float
    correct: bool | None
    output: str | None
    loglikelihoods: tuple[float, ...] = ()
    readable: bool | None = None
    text_words: int | None = None
    text_bytes: int | None = None


@dataclass(frozen=True)
class Task(ABC):
    """A named list of items, with their requests and their scoring.

    Attributes
    ----------
    facets : mapping of str to str
        Everything that decides prompts and scores, as one short text per facet. Two sample sets are compared only if
        all facets agree; otherwise the error lists the facets that differ.
    metric : str
        Name of the metric of `score`; larger is better.
    generates : bool
        Whether texts are generated, so that end tokens matter.
    max_tokens : int
        Longest generated text per item, in tokens; 0 if none is generated.
    """

    name: str
    settings: TaskSettings
    items: tuple[Item, ...]
    facets: Mapping[str, str]
    sampling: Sampling
    metric: str
    generates: bool
    max_tokens: int

    @abstractmethod
    def requests(self, item: Item, repeat: int, render: Render) -> tuple[Request, ...]:
        """Return the requests to an engine for one answer to an item; the first one carries the item's prompt.

        `repeat` is from 0 to `repeats` - 1.
        """

    @abstractmethod
    def score(self, item: Item, answers: Sequence[Answer]) -> Scored:
        """Score the answers to `requests`, one per request, in the same order."""

    def follow_up(self, item: Item, repeat: int, render: Render, answers: Sequence[Answer]) -> tuple[Request, ...]:  # noqa: ARG002
        """Return the requests that depend on the answers so far; none if the answer to the item is complete."""
        return ()

    @property
    def chat_format(self) -> ChatFormat:
        """How the engine makes prompts of chats."""
        return ChatFormat(canonical_json(self.settings.chat_template_kwargs), self.settings.chat)

    def text_request(
        self,
        context: str,
        messages: Sequence[Message],
        stop: tuple[str, ...],
        max_tokens: int,
        sampling: Sampling,
        seed: int,
    ) -> GenerateRequest:
        """Return the request for a text. `context` is the rendered prompt, `messages` the chat that it renders."""
        tags = self.settings.reasoning_tags
        return GenerateRequest(
            context,
            stop,
            max_tokens,
            seed=seed if sampling.temperature > 0 else 0,
            **sampling.options,
            messages=tuple(messages) if self.settings.chat else (),
            template_kwargs=self.chat_format.template_kwargs,
            reasoning=None if tags is None else ReasoningTags(tags.start, tags.end),
        )

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
