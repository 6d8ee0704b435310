"""From the settings of a task and its file to a `Task`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gate.canonical import canonical_json, digest
from gate.config import SampleSettings, TaskSettings
from gate.errors import TaskError
from gate.tasks.curation import select_items
from gate.tasks.documents import Document, read_documents
from gate.tasks.file_task import FileTask
from gate.tasks.harness import build_harness_task
from gate.tasks.requests import Message
from gate.tasks.scoring import SCORING_VERSION, normalise
from gate.tasks.task import Item, Sampling, Task
from gate.tasks.templates import Template


@dataclass(frozen=True)
class _Rendered:
    """The texts of one document, before examples are put in front of it."""

    document: Document
    question: str
    choices: tuple[str, ...]
    gold: int | None
    answers: tuple[str, ...]


def build_task(
    settings: TaskSettings, samples: SampleSettings, folder: Path, include_path: Sequence[str | Path] = ()
) -> Task:
    """Read, check and render a task: from its file, or by its name in the registry of LM Evaluation Harness.

    Parameters
    ----------
    settings : TaskSettings
    samples : SampleSettings
        For `limit`, `repeats` and `seed`.
    folder : Path
        Where relative file names start.
    include_path : sequence of str or Path
        Folders (relative ones to `folder`) with LM Evaluation Harness task files of the user's own.

    Raises
    ------
    TaskError
        The file or one of its documents does not fit the settings; no such registry task.
    """
    if settings.is_registry_task:
        task: Task = build_harness_task(settings, samples, [folder / one for one in include_path])
    else:
        task = _file_task(settings, samples, folder)
    return task if settings.items is None else select_items(task, folder / settings.items)


def _file_task(settings: TaskSettings, samples: SampleSettings, folder: Path) -> Task:
    path = folder / str(settings.file)
    renderer = _Renderer(settings)
    documents = read_documents(path, settings.name)
    used = documents[: settings.limit or samples.limit]
    rendered = [renderer.render(document, f"{path}:{document.line}") for document in used]
    examples = _examples(settings, path, documents, folder, renderer)
    items = tuple(_item(one, examples, settings, path) for one in rendered)
    sampling = Sampling.of(samples) if settings.kind == "generate_until" else Sampling()
    facets = _facets(settings, items, examples) | sampling.facets
    return FileTask(settings.name, settings, items, facets, sampling)


class _Renderer:
    """The compiled templates of a task."""

    def __init__(self, settings: TaskSettings) -> None:
        self.settings = settings
        name = settings.name
        self.prompt = Template(str(settings.prompt), name, "prompt")
        self.answer = Template(str(settings.answer), name, "answer")
        choices = settings.choices
        self.choices: Template | list[Template] = (
            [Template(one, name, "choices") for one in choices]
            if isinstance(choices, list)
            else Template(choices or "", name, "choices")
        )

    def render(self, document: Document, where: str) -> _Rendered:
        question = self.prompt.text(document, where)
        if self.settings.kind == "multiple_choice":
            choices = self._choices(document, where)
            gold = self._gold(document, choices, where)
            return _Rendered(document, question, choices, gold, (choices[gold],))
        return _Rendered(document, question, (), None, self._answers(document, where))

    def _choices(self, document: Document, where: str) -> tuple[str, ...]:
        if isinstance(self.choices, list):
            value = [template.text(document, where) for template in self.choices]
        else:
            value = self.choices.value(document, where)
        if not isinstance(value, list | tuple) or len(value) < 2:
            raise TaskError(
                f"task {self.settings.name}: {where}: choices gave {_short(value)}; expected a list of at least two.",
                "For a cell that holds JSON text write {{ field | fromjson }}.",
            )
        choices = tuple(str(choice) for choice in value)
        if "" in choices or len(set(choices)) < len(choices):
            raise TaskError(
                f"task {self.settings.name}: {where}: choices must be non-empty and differ; found {_short(value)}."
            )
        return choices

    def _gold(self, document: Document, choices: tuple[str, ...], where: str) -> int:
        """An index, the text of a choice, or a letter (A is the first choice); text wins over the others."""
        value = self.answer.value(document, where)
        text = str(value).strip()
        if isinstance(value, str) and value in choices:
            return choices.index(value)
        gold: int | None = None
        if isinstance(value, int) and not isinstance(value, bool):
            gold = value
        elif isinstance(value, float) and value.is_integer():
            gold = int(value)
        elif isinstance(value, str) and text.isdecimal():
            gold = int(text)
        elif isinstance(value, str) and len(text) == 1 and "A" <= text <= "Z":
            gold = ord(text) - ord("A")
        if gold is None or not 0 <= gold < len(choices):
            raise TaskError(
                f"task {self.settings.name}: {where}: answer gave {_short(value)}; expected an index from 0 to "
                f"{len(choices) - 1}, a letter from A to {chr(ord('A') + len(choices) - 1)}, or one of the choices.",
                "Indices start at 0: subtract one in the template where yours start at 1.",
            )
        return gold

    def _answers(self, document: Document, where: str) -> tuple[str, ...]:
        value = self.answer.value(document, where)
        answers = tuple(str(one) for one in value) if isinstance(value, list | tuple) else (str(value),)
        if value is None or not answers or any(not one.strip() for one in answers):
            raise TaskError(
                f"task {self.settings.name}: {where}: answer gave {_short(value)}; expected a text or a list of texts."
            )
        if any(not normalise(one, self.settings.normalise) for one in answers):
            # an empty generation would be right; the answer A under `articles` is such a case
            raise TaskError(
                f"task {self.settings.name}: {where}: answer gave {_short(value)}, of which normalise leaves nothing.",
                f"Take a step out of normalise: {', '.join(self.settings.normalise)}.",
            )
        return answers


def _examples(
    settings: TaskSettings, path: Path, documents: list[Document], folder: Path, renderer: _Renderer
) -> list[_Rendered]:
    """Draw the few-shot examples: fixed for the task, plus one spare for the item that is itself an example."""
    if settings.fewshot == 0:
        return []
    if settings.fewshot_file is not None:
        path = folder / settings.fewshot_file
        documents = read_documents(path, settings.name)
    # a file of examples alone needs no spare one, unless it holds an item: `_item` sees to that
    wanted = settings.fewshot + (settings.fewshot_file is None)
    if len(documents) < wanted:
        raise TaskError(
            f"task {settings.name}: fewshot {settings.fewshot} needs {wanted} documents; {path} has {len(documents)}."
        )
    count = min(settings.fewshot + 1, len(documents))
    drawn = random.Random(settings.fewshot_seed).sample(documents, count)  # noqa: S311 - not for security
    return [renderer.render(document, f"{path}:{document.line}") for document in drawn]


def _item(one: _Rendered, examples: Sequence[_Rendered], settings: TaskSettings, path: Path) -> Item:
    shots = [example for example in examples if example.document.item_id != one.document.item_id]
    shots = shots[: settings.fewshot]
    if len(shots) < settings.fewshot:
        raise TaskError(
            f"task {settings.name}: {path}:{one.document.line}: the document is one of the only {settings.fewshot} "
            "few-shot examples.",
            f"Add an example to {settings.fewshot_file}, or take this document out of it.",
        )
    context = ""
    messages: tuple[Message, ...] = ()
    if settings.chat_template:
        messages = tuple(_messages(one, shots, settings))
    else:
        solved = (
            f"{s.question}{settings.target_delimiter}{s.answers[0]}{settings.fewshot_delimiter}"
            for s in shots
        )
        context = settings.description + "".join(solved) + one.question
    return Item(
        item_id=one.document.item_id,
        question=one.question,
        context=context,
        messages=messages,
        choices=one.choices,
        gold=one.gold,
        answers=one.answers,
        cluster=_cluster(one.document, settings, f"{path}:{one.document.line}"),
    )


def _messages(one: _Rendered, shots: Sequence[_Rendered], settings: TaskSettings) -> list[Message]:
    system = "\n\n".join(text for text in (settings.system, settings.description) if text)
    messages = [Message("system", system)] if system else []
    for shot in shots:
        messages += [Message("user", shot.question), Message("assistant", shot.answers[0])]
    return [*messages, Message("user", one.question)]


def _cluster(document: Document, settings: TaskSettings, where: str) -> str | None:
    if settings.cluster is None:
        return None
    if settings.cluster not in document.fields:
        raise TaskError(
            f"task {settings.name}: {where}: the document lacks the cluster field {settings.cluster!r}.",
            f"The document has: {', '.join(map(str, document.fields))}.",
        )
    return str(document.fields[settings.cluster])


def _facets(settings: TaskSettings, items: tuple[Item, ...], examples: list[_Rendered]) -> dict[str, str]:
    ids = [item.item_id for item in items]
    facets = {
        "kind": settings.kind,
        "scoring_version": str(SCORING_VERSION),
        "metric": settings.resolved_metric,
        "documents": f"{len(ids)} items, sha256 {digest(ids)[:16]}",
        "prompt": str(settings.prompt),
        "answer": str(settings.answer),
        "description": settings.description,
        "target_delimiter": settings.target_delimiter,
        "chat_template": canonical_json([settings.chat_template, settings.system]),
        "fewshot": canonical_json(
            [settings.fewshot, settings.fewshot_delimiter, [e.document.item_id[:16] for e in examples]]
        ),
        "cluster": str(settings.cluster),
    }
    if settings.kind == "multiple_choice":
        facets["choices"] = canonical_json(settings.choices)
    else:
        facets["generation"] = canonical_json([settings.stop, settings.max_tokens])
        facets["scoring"] = canonical_json([settings.extract, settings.normalise])
    return facets


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
