"""Finds a task by name in lm-eval's registry, without reading all of its 14,000 files, and loads it."""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import io
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gate.errors import TaskError
from gate.tasks.own_files import digest_of_files

_RANDOM_SEED, _NUMPY_SEED = 0, 1234  # set by lm_eval.simple_evaluate before it loads tasks
_WORD = re.compile(rb"[\w.+:\-]+")
_DEFINITION = re.compile(rb"^(?:task|group|tag):[ \t]*([\w.+:\-]+)[ \t]*$", re.MULTILINE)


def load(name: str, include_path: Sequence[Path]) -> dict[str, Any]:
    """Return lm-eval's task objects of a task, group or tag, by name. Files in `include_path` override lm-eval's.

    Raises
    ------
    TaskError
        lm-eval is not installed, the task does not exist, or its dataset or files cannot be loaded.
    """
    for folder in include_path:
        if not folder.is_dir():
            raise TaskError(f"include_path: {folder} is not a folder.", "List folders that hold task YAML files.")
    try:
        import lm_eval  # noqa: F401
    except ImportError as error:
        raise TaskError(
            f"task {name}: it has no `file:`, so it must be a task of LM Evaluation Harness, which cannot be imported: "
            f"{error}.",
            "Run pip install 'quantgate[lm-eval]', or set `file:` for a task of your own.",
        ) from None
    with quiet(), _seeded():
        manager = _manager(name, tuple(include_path))
        try:
            loaded = manager.load([name])
        except Exception as error:  # errors of the task's own code and of its dataset
            raise _explained(name, error) from error
    tasks: dict[str, Any] = dict(loaded["tasks"])
    if not tasks:
        raise TaskError(f"task {name}: this group of LM Evaluation Harness has no tasks.")
    return tasks


def own_code(names: Iterable[str], include_path: Sequence[Path]) -> str | None:
    """Return a digest of the code of tasks in `include_path`; None if all the tasks are lm-eval's own.

    It covers every Python and YAML file below the folders, because a task's functions may call others from any file
    there.
    """
    folders = [folder.resolve() for folder in include_path]
    index = _scan((), tuple(include_path)).task_index if folders else {}
    if not any(name in index for name in names):
        return None
    return digest_of_files(folders, (".py", "yaml", "yml"))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide progress bars and messages of lm-eval and datasets."""
    datasets: Any = importlib.import_module("datasets")  # untyped
    disabled = datasets.utils.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        if not disabled:
            datasets.enable_progress_bars()


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """Set the seeds of lm-eval, because some tasks shuffle their documents, and restore the state afterwards."""
    import numpy as np

    state, numpy_state = random.getstate(), np.random.get_state()
    random.seed(_RANDOM_SEED)
    np.random.seed(_NUMPY_SEED)
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)


def _explained(name: str, error: Exception) -> TaskError:
    text = " ".join(str(error).split())
    text = text if len(text) <= 300 else text[:297] + "..."
    kinds = {cls.__name__ for cls in type(error).__mro__}
    if kinds & {"OSError", "DatasetNotFoundError", "OfflineModeIsEnabled", "DatasetGenerationError"}:
        return TaskError(
            f"task {name}: its dataset cannot be loaded: {type(error).__name__}: {text}",
            "Datasets are downloaded from the Hugging Face Hub. Check the network, HF_HUB_OFFLINE and HF_TOKEN, or "
            "fill the cache (HF_HOME) on a machine that is online.",
        )
    if isinstance(error, ImportError):
        return TaskError(
            f"task {name}: its code needs a package that cannot be imported: {text}", "Install that package."
        )
    return TaskError(f"task {name}: LM Evaluation Harness cannot load it: {type(error).__name__}: {text}")


def _manager(name: str, include_path: tuple[Path, ...]) -> Any:
    """Return a TaskManager that knows `name` and, for a group or tag, its subtasks.

    Raises
    ------
    TaskError
        The task does not exist.
    """
    known: dict[str, None] = {}
    wanted = {name}
    while True:
        folders = _folders(known | dict.fromkeys(wanted))
        manager = _scan(folders, include_path)
        index = manager.task_index
        known |= dict.fromkeys(wanted)
        wanted = {subtask for key in known if key in index for subtask in _subtasks(index[key])} - set(known)
        if not wanted:
            break
    if name in index:
        return manager
    near = difflib.get_close_matches(name, [*_names(), *index], n=3, cutoff=0.6)
    raise TaskError(
        f"task {name}: it has no `file:`, and LM Evaluation Harness has no task, group or tag of that name.",
        (f"Did you mean {' or '.join(near)}? " if near else "")
        + "Set `file:` for a task of your own, or `include_path:` for a folder of task YAML files.",
    )


def _subtasks(entry: Any) -> set[str]:
    """Return the names of the tasks and groups in a group or a tag."""
    names = {str(tag) for tag in entry.tags} if entry.kind.name == "TAG" else set()
    pending = [(entry.cfg or {}).get("task")] if entry.kind.name == "GROUP" else []
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            names.add(value)
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            pending += [value.get("task"), value.get("group")]
    return names


@functools.cache
def _scan(folders: tuple[Path, ...], include_path: tuple[Path, ...]) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=[*folders, *include_path], include_defaults=False)


def _folders(names: Iterable[str]) -> tuple[Path, ...]:
    """Return the folders of lm-eval's tasks whose files mention one of the names, in reverse order of path.

    lm-eval itself reads every file, which takes many seconds. If it finds a name twice, it uses the first in order of
    path; if the name is in two folders passed to it, the last folder. The reverse order makes both agree.
    """
    wanted = {name.encode() for name in names}
    root = _root()
    folders = [folder for folder, words in _mentions().items() if not wanted.isdisjoint(words)]
    return tuple(root / folder for folder in sorted(folders, key=lambda folder: folder + "/", reverse=True))


def _root() -> Path:
    import lm_eval.tasks

    return Path(str(lm_eval.tasks.__file__)).parent


@functools.cache
def _texts() -> dict[str, list[bytes]]:
    """Return the YAML texts, including `_default_template_yaml`, below each folder of lm-eval's tasks."""
    root = _root()
    texts: dict[str, list[bytes]] = {}
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir() and entry.name != "__pycache__"):
        paths = (path for path in folder.rglob("*") if path.name.endswith(("yaml", "yml")) or not path.suffix)
        texts[folder.name] = [path.read_bytes() for path in paths if path.is_file()]
    return texts


@functools.cache
def _mentions() -> dict[str, frozenset[bytes]]:
    return {
        folder: frozenset(word for text in texts for word in _WORD.findall(text)) for folder, texts in _texts().items()
    }


def _names() -> list[str]:
    """Return the names of all tasks, groups and tags, for suggestions."""
    names = {name for texts in _texts().values() for text in texts for name in _DEFINITION.findall(text)}
    return sorted(name.decode("utf-8", "replace") for name in names)
