"""Builds the tasks of a gate.yml from their settings and files."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from gate.common.canonical import canonical_json, digest
from gate.config import GateConfig, SampleSettings, TaskSettings
from gate.config.tasks import NAME_RULE
from gate.errors import ConfigError, TaskError
from gate.tasks.chat import CHAT_DATE, Message
from gate.tasks.curation import select_items
from gate.tasks.documents import Document, read_documents, slice_values
from gate.tasks.file_task import FileTask
from gate.tasks.harness import HarnessItem, build_harness_task
from gate.tasks.render import Rendered, Renderer
from gate.tasks.sampling import Sampling, answer_facets, chat_facet
from gate.tasks.scorers import build_scorer, scorer_facets
from gate.tasks.scoring import SCORING_VERSION
from gate.tasks.task import Item, Task
from gate.tasks.text_task import build_text_task


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
    if not settings.may_be_evaluated:
        raise TaskError(
            f"task {settings.name!r} is not a name in the registry of LM Evaluation Harness: {NAME_RULE}.",
            "Names of other tools' tasks can be used with `gate compare --config`.",
        )
    if settings.is_registry_task:
        if settings.slices:
            raise TaskError(
                f"task {settings.name}: slices are fields of the documents in the task's file, and it has no file.",
                "Set file, or remove slices.",
            )
        task: Task = build_harness_task(settings, samples, [folder / path for path in include_path])
    elif settings.kind == "text":
        task = build_text_task(settings, samples, folder)
    else:
        task = _file_task(settings, samples, folder, [folder / path for path in include_path])
    return task if settings.items is None else select_items(task, folder / settings.items)


def _file_task(settings: TaskSettings, samples: SampleSettings, folder: Path, include_path: Sequence[Path]) -> Task:
    path = folder / str(settings.file)
    generates = settings.kind == "generate_until"
    try:
        scorer = build_scorer(settings, folder, include_path) if generates else None
        own_facets = {} if scorer is None else scorer_facets(settings, scorer)
        renderer = Renderer(settings, scorer)
        documents = read_documents(path)
        limited = documents[: settings.limit or samples.limit]
        rendered = [renderer.render(document) for document in limited]
        examples = _examples(settings, path, documents, folder, renderer)
        items = tuple(_item(document, examples, settings) for document in rendered)
        slices = slice_values(limited, settings.slices)
    except TaskError as error:
        raise TaskError(f"task {settings.name}: {error.message}", error.hint) from error
    sampling = Sampling.of(samples, settings) if generates else Sampling()
    return FileTask(
        settings.name,
        settings,
        items,
        facets=_facets(settings, items, examples) | own_facets | sampling.facets,
        sampling=sampling,
        metric=settings.resolved_metric,
        generates=generates,
        max_tokens=settings.max_tokens if generates else 0,
        slices=slices,
        scorer=scorer,
        documents={document.item_id: document.fields for document in limited} if settings.reads_documents else {},
    )


def _examples(
    settings: TaskSettings, path: Path, documents: list[Document], folder: Path, renderer: Renderer
) -> list[Rendered]:
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


def _item(rendered: Rendered, examples: Sequence[Rendered], settings: TaskSettings) -> Item:
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
    if settings.is_chat:
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
        turns=rendered.turns,
        turn_targets=rendered.turn_targets,
    )


def _messages(rendered: Rendered, shots: Sequence[Rendered], settings: TaskSettings) -> list[Message]:
    system = "\n\n".join(text for text in (settings.system, settings.description) if text)
    messages = [Message("system", system)] if system else []
    for shot in shots:
        messages += [Message("user", shot.prompt), Message("assistant", shot.targets[0])]
    return [*messages, Message("user", rendered.turns[0] if rendered.turns else rendered.prompt)]


def _cluster(document: Document, settings: TaskSettings) -> str | None:
    if settings.cluster is None:
        return None
    if settings.cluster not in document.fields:
        raise TaskError(
            f"{document.where}: the document lacks the cluster field {settings.cluster!r}.",
            f"The document has: {', '.join(map(str, document.fields))}.",
        )
    return str(document.fields[settings.cluster])


def _facets(settings: TaskSettings, items: tuple[Item, ...], examples: list[Rendered]) -> dict[str, str]:
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
        "chat_template": chat_facet(settings),
        "fewshot": canonical_json([settings.fewshot, settings.fewshot_delimiter, shots]),
        "cluster": str(settings.cluster),
    }
    if settings.is_chat:
        facets["chat_date"] = CHAT_DATE.isoformat()
    if settings.kind == "multiple_choice":
        facets["choices"] = canonical_json(settings.choices)
    else:
        facets["generation"] = canonical_json([settings.stop, settings.max_tokens])
        facets["scoring"] = canonical_json([settings.extract, settings.normalise])
        facets |= answer_facets(settings)
    return facets
