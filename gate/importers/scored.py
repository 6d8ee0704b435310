"""From the scored rows of any tool to the samples of one model: metric, direction, missing scores, repeated items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from gate.errors import SampleError
from gate.importers.build import parse_score, refuse_unscored, task_samples
from gate.importers.choose import Selection
from gate.importers.files import label_of, no_rows, no_score, refuse_models, shorten, source_files, stem_of
from gate.importers.orient import Directions
from gate.importers.reading import Reading
from gate.importers.sibling_folders import below
from gate.importers.twins import refuse_twins
from gate.samples.record import ModelSamples, TaskSamples


@dataclass(frozen=True)
class Row:
    """One answer to one item.

    Attributes
    ----------
    where : str
        Names the row in messages: a line of the file, or the tool's own name of the sample.
    scores : mapping of str to object
        Values by metric, as logged.
    repeat : int or None
        Number of the answer to this item; None: counted in the order of the rows.
    error : str or None
        Why there is no answer, if the tool failed to get or to score one.
    """

    item_id: str
    where: str
    scores: Mapping[str, object]
    output: str | None = None
    target: str | None = None
    prompt: str | None = None
    prompt_hash: str | None = None
    repeat: int | None = None
    cluster: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Rows:
    """The rows of one task, and what the evaluation says about them.

    Attributes
    ----------
    defaults : sequence of str
        Metrics in order of preference, where the user names none.
    higher_is_better : mapping of str to bool
        Directions that the evaluation declares, by metric; `declared_by` names the file.
    """

    rows: Sequence[Row]
    facets: Mapping[str, str] = field(default_factory=dict)
    defaults: Sequence[str] = ()
    higher_is_better: Mapping[str, bool] = field(default_factory=dict)
    declared_by: str = ""


@dataclass(frozen=True)
class Part:
    """One task in one file, not read yet.

    Attributes
    ----------
    model : str or None
        Name of the model; None if it is not known.
    stamp : str
        Sorts the runs of a task by time; "" if it is not known.
    """

    task: str
    file: Path
    read: Callable[[], Rows]
    model: str | None = None
    stamp: str = ""
    named_after_file: bool = False


def part_below(file: Path, folder: str, read: Callable[[Path], Rows]) -> Part:
    """Return the task of a file `FOLDER/MODEL/TASK.json`; without such a folder, it is only named after its file."""
    model = below(file, folder)
    return Part(stem_of(file), file, partial(read, file), model, named_after_file=model is None)


_COLUMNS = ("item_id", "output", "target", "prompt", "prompt_hash", "cluster")


class _UnscoredError(SampleError):
    """A task has no score per sample."""


def read_scored(tool: str, path: Path, parts: Sequence[Part], reading: Reading) -> ModelSamples:
    """Read the tasks that were found at `path` as one model's samples.

    A task without a score per sample is left out, with a note, if there are others and it was not asked for.

    Raises
    ------
    SampleError
        See `gate.importers.read_foreign`.
    """
    wanted = [part for part in parts if reading.wants(part.task) or (len(parts) == 1 and part.named_after_file)]
    refuse_models(path, (part.model for part in wanted if part.model is not None))
    newest, notes, left_out = _newest(path, wanted)
    metrics = Selection("metric", reading.metric, ())
    directions = Directions(reading)
    tasks: dict[str, TaskSamples] = {}
    read: dict[str, Rows] = {}
    unscored: list[tuple[Part, _UnscoredError]] = []
    for part in newest:
        rows = part.read()
        try:
            tasks[part.task] = _samples(part, rows, reading, metrics, directions, notes)
            read[part.task] = rows
        except _UnscoredError as error:
            if part.task in reading.tasks:
                raise
            unscored.append((part, error))
    if unscored and not tasks:
        raise unscored[0][1]
    refuse_twins(
        path,
        {
            name: _requests_and_answers(content.rows)
            for name, content in read.items()
            if all(row.prompt_hash is not None for row in content.rows)  # ids alone may be equal between tasks
        },
    )
    notes += [f"left out: {error.message}" for _, error in unscored]
    files = [part.file for part in newest if part.task in tasks]
    about: dict[str, object] = {"format": tool, "files": source_files(list(dict.fromkeys(files)))}
    models = [part.model for part in newest if part.model is not None]
    about |= {"model": models[0]} if models else {}
    left_out += [f"{part.file.name}: not a task that was asked for." for part in parts if part not in wanted]
    left_out += [no_score(part.file, part.task) for part, _ in unscored]
    unread = sorted({part.task for part in parts} - {part.task for part in wanted})
    notes = [*metrics.notes(), *directions.notes(), *notes] if tasks else notes
    return ModelSamples(label_of(path), tasks, about, tuple(notes), tuple(unread), tuple(left_out))


def numbered(ids: Sequence[str]) -> list[str]:
    """Return the ids, with "#2", "#3" and so on added to those of equal documents."""
    seen: Counter[str] = Counter()
    names = []
    for name in ids:
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return names


def _newest(path: Path, parts: Sequence[Part]) -> tuple[list[Part], list[str], list[str]]:
    """Return the newest run of each task, notes on the older ones, and a line for each of these."""
    runs: dict[str, list[Part]] = {}
    for part in parts:
        runs.setdefault(part.task, []).append(part)
    newest, notes, left_out = [], [], []
    for task, candidates in runs.items():
        stamps = {part.stamp for part in candidates}
        if len(candidates) > 1 and (len(stamps) < len(candidates) or any(part.model is None for part in candidates)):
            names = [str(part.file.relative_to(path)) if path.is_dir() else part.file.name for part in candidates]
            raise SampleError(
                f"{path} holds {task} {len(candidates)} times: {shorten(names)}. They may be answers of two models, or "
                "of two runs.",
                "Pass the folder of one run, or one of the files.",
            )
        candidates.sort(key=lambda part: part.stamp)
        newest.append(candidates[-1])
        if len(candidates) > 1:
            notes.append(f"{task}: {len(candidates)} runs in the folder; read the newest, {candidates[-1].file.name}.")
            left_out += [f"{part.file.name}: an older run of {task}." for part in candidates[:-1]]
    return newest, notes, left_out


def _samples(
    part: Part, content: Rows, reading: Reading, metrics: Selection, directions: Directions, notes: list[str]
) -> TaskSamples:
    rows, where = content.rows, f"task {part.task} ({part.file.name})"
    if not rows:
        raise no_rows(part.file)
    failed = [row for row in rows if row.error is not None]
    if failed and not reading.allow_partial:
        reason = f"ended with an error (the first: {str(failed[0].error)[:200]})"
        refuse_unscored([row.where for row in failed], len(rows), where, reason)
    rows = [row for row in rows if row.error is None]
    if failed:
        notes.append(f"{part.task}: left out {len(failed)} samples that ended with an error.")
    names = dict.fromkeys(name for row in rows for name, value in row.scores.items() if _is_score(value))
    if not names:
        raise _UnscoredError(
            f"{where} has no score per sample.",
            "Only results with a score for each sample can be compared; choose other tasks with --task NAME.",
        )
    metric = metrics.choose(part.task, names, where, content.defaults)
    scores = [parse_score(row.scores.get(metric), metric, f"{part.file}, {row.where}") for row in rows]
    unscored = [row.where for row, score in zip(rows, scores, strict=True) if score is None]
    refuse_unscored(unscored, len(rows), f"{where}: {metric}")
    label, oriented = directions.orient(
        part.task, metric, [0.0 if score is None else score for score in scores], where,
        content.higher_is_better.get(metric), content.declared_by,
    )  # fmt: skip
    columns: dict[str, object] = {name: [getattr(row, name) for row in rows] for name in _COLUMNS}
    columns |= {"repeat": _repeats(rows), "score": oriented}
    return task_samples(part.task, label, columns, content.facets, [part.file], part.named_after_file)


def _is_score(value: object) -> bool:
    return isinstance(value, bool | int | float)


def _repeats(rows: Sequence[Row]) -> list[int]:
    seen: Counter[str] = Counter()
    repeats = []
    for row in rows:
        repeats.append(seen[row.item_id] if row.repeat is None else row.repeat)
        seen[row.item_id] += 1
    return repeats


def _requests_and_answers(rows: Sequence[Row]) -> list[tuple[tuple[object, ...], tuple[object, ...]]]:
    return [((row.prompt_hash, row.target), (row.output, repr(sorted(row.scores.items())))) for row in rows]
