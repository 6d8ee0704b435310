"""Builds the tasks of a gate.yml from their settings and files."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gate.common.canonical import canonical_json, digest
from gate.common.indices import parse_index
from gate.config import GateConfig, SampleSettings, TaskSettings
from gate.errors import ConfigError, TaskError
from gate.tasks.curation import select_items
from gate.tasks.documents import Document, read_documents, slice_values
from gate.tasks.file_task import FileTask
from gate.tasks.harness import HarnessItem, build_harness_task
from gate.tasks.requests import CHAT_DATE, Message
from gate.tasks.scoring import SCORING_VERSION, normalise
from gate.tasks.task import Item, Sampling, Task
from gate.tasks.templates import Template


@dataclass(frozen=True)
class _Rendered:
    """The rendered templates of one document, without few-shot examples."""

    document: Document
    prompt: str
    choices: tuple[str, ...]
    target_index: int | None
    targets: tuple[str, ...]


def build_suite(config: GateConfig, folder: Path) -> tuple[Task, ...]:
    """Build every task of a gate.yml in `folder`.

    Raises
    ------
    TaskError
        See `build_task`.
    ConfigError
        Two gating registry tasks share a document: the tests assume independent items.
    """
    tasks = tuple(build_task(task, config.samples, folder, config.include_path) for task in config.tasks)
    owners: dict[str, str] = {}
    for task in tasks:
        for item in task.items if task.role == "gating" else ():
            if isinstance(item, HarnessItem):
                owner = owners.setdefault(digest(item.document), task.name)
                if owner != task.name:
                    raise ConfigError(
                        f"tasks {owner} and {task.name} share documents, whose flips would count twice.",
                        "Make one of them advisory, or name only the group.",
                    )
    return tasks


def build_task(
    settings: TaskSettings, samples: SampleSettings, folder: Path, include_path: Sequence[str | Path] = ()
) -> Task:
    """Build a task from its file, or by its name in the registry of LM Evaluation Harness.

    Parameters
    ----------
    samples : SampleSettings
        For `limit`, `repeats`, `temperature` and `seed`.
    folder : Path
        Folder that relative file names refer to.
    include_path : sequence of str or Path
        Folders with LM Evaluation Harness task files of the user; relative ones refer to `folder`.

    Raises
    ------
    TaskError
        The file or one of its documents does not fit the settings, or the registry has no such task.
    """
    if settings.is_registry_task:
        task: Task = build_harness_task(settings, samples, [folder / path for path in include_path])
    else:
        task = _file_task(settings, samples, folder)
    return task if settings.items is None else select_items(task, folder / settings.items)


def _file_task(settings: TaskSettings, samples: SampleSettings, folder: Path) -> Task:
    path = folder / str(settings.file)
    try:
        renderer = _Renderer(settings)
        documents = read_documents(path)
        limited = documents[: settings.limit or samples.limit]
        rendered = [renderer.render(document) for document in limited]
        examples = _examples(settings, path, documents, folder, renderer)
        items = tuple(_item(document, examples, settings) for document in rendered)
        slices = slice_values(limited, settings.slices)
    except TaskError as error:
        raise TaskError(f"task {settings.name}: {error.message}", error.hint) from error
    generates = settings.kind == "generate_until"
    sampling = Sampling.of(samples) if generates else Sampling()
    return FileTask(
        settings.name,
        settings,
        items,
        facets=_facets(settings, items, examples) | sampling.facets,
        sampling=sampling,
        metric=settings.resolved_metric,
        generates=generates,
        max_tokens=settings.max_tokens if generates else 0,
        slices=slices,
    )


class _Renderer:
    """The compiled templates of a task."""

    def __init__(self, settings: TaskSettings) -> None:
        self.settings = settings
        self.prompt = Template(str(settings.prompt), "prompt")
        self.answer = Template(str(settings.answer), "answer")
        choices = settings.choices
        self.choices: Template | list[Template] = (
            [Template(source, "choices") for source in choices]
            if isinstance(choices, list)
            else Template(choices or "", "choices")
        )

    def render(self, document: Document) -> _Rendered:
        prompt = self.prompt.text(document)
        if self.settings.kind == "multiple_choice":
            choices = self._choices(document)
            index = self._target_index(document, choices)
            return _Rendered(document, prompt, choices, index, (choices[index],))
        return _Rendered(document, prompt, (), None, self._targets(document))

    def _choices(self, document: Document) -> tuple[str, ...]:
        if isinstance(self.choices, list):
            value = [template.text(document) for template in self.choices]
        else:
            value = self.choices.value(document)
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
        value = self.answer.value(document)
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
        value = self.answer.value(document)
        targets = tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)
        if value is None or not targets or any(not target.strip() for target in targets):
            raise TaskError(f"{document.where}: answer gave {_short(value)}; expected a text or a list of texts.")
        if not all(normalise(target, self.settings.normalise) for target in targets):
            # an empty generation would be right, e.g. for the answer "A" with the step `articles`
            raise TaskError(
                f"{document.where}: answer gave {_short(value)}, which normalise reduces to an empty text.",
                f"Remove a step from normalise: {', '.join(self.settings.normalise)}.",
            )
        return targets


def _examples(
    settings: TaskSettings, path: Path, documents: list[Document], folder: Path, renderer: _Renderer
) -> list[_Rendered]:
    """Draw the few-shot examples of the task, plus a spare one for items that are examples themselves."""
    if settings.fewshot == 0:
        return []
    if settings.fewshot_file is not None:
        path = folder / settings.fewshot_file
        documents = read_documents(path)
    # a separate file needs a spare example only if it holds an item; `_item` checks that
    needed = settings.fewshot + (settings.fewshot_file is None)
    if len(documents) < needed:
        raise TaskError(f"fewshot {settings.fewshot} needs {needed} documents; {path} has {len(documents)}.")
    count = min(settings.fewshot + 1, len(documents))
    drawn = random.Random(settings.fewshot_seed).sample(documents, count)  # noqa: S311 - not for security
    return [renderer.render(document) for document in drawn]


def _item(rendered: _Rendered, examples: Sequence[_Rendered], settings: TaskSettings) -> Item:
    document = rendered.document
    shots = [example for example in examples if example.document.item_id != document.item_id]
    shots = shots[: settings.fewshot]
    if len(shots) < settings.fewshot:
        raise TaskError(
            f"{document.where}: the document is one of the only {settings.fewshot} few-shot examples.",
            f"Add an example to {settings.fewshot_file}, or remove this document from it.",
        )
    context = ""
    messages: tuple[Message, ...] = ()
    if settings.chat_template:
        messages = tuple(_messages(rendered, shots, settings))
    else:
        solved = (
            f"{shot.prompt}{settings.target_delimiter}{shot.targets[0]}{settings.fewshot_delimiter}" for shot in shots
        )
        context = settings.description + "".join(solved) + rendered.prompt
    return Item(
        item_id=document.item_id,
        prompt=rendered.prompt,
        context=context,
        messages=messages,
        choices=rendered.choices,
        target_index=rendered.target_index,
        targets=rendered.targets,
        cluster=_cluster(document, settings),
    )


def _messages(rendered: _Rendered, shots: Sequence[_Rendered], settings: TaskSettings) -> list[Message]:
    system = "\n\n".join(text for text in (settings.system, settings.description) if text)
    messages = [Message("system", system)] if system else []
    for shot in shots:
        messages += [Message("user", shot.prompt), Message("assistant", shot.targets[0])]
    return [*messages, Message("user", rendered.prompt)]


def _cluster(document: Document, settings: TaskSettings) -> str | None:
    if settings.cluster is None:
        return None
    if settings.cluster not in document.fields:
        raise TaskError(
            f"{document.where}: the document lacks the cluster field {settings.cluster!r}.",
            f"The document has: {', '.join(map(str, document.fields))}.",
        )
    return str(document.fields[settings.cluster])


def _facets(settings: TaskSettings, items: tuple[Item, ...], examples: list[_Rendered]) -> dict[str, str]:
    ids = [item.item_id for item in items]
    shots = [example.document.item_id[:16] for example in examples]
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
        "fewshot": canonical_json([settings.fewshot, settings.fewshot_delimiter, shots]),
        "cluster": str(settings.cluster),
    }
    if settings.chat_template:
        facets["chat_date"] = CHAT_DATE.isoformat()
    if settings.kind == "multiple_choice":
        facets["choices"] = canonical_json(settings.choices)
    else:
        facets["generation"] = canonical_json([settings.stop, settings.max_tokens])
        facets["scoring"] = canonical_json([settings.extract, settings.normalise])
    return facets


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
