"""Finding a task by name in lm-eval's registry, without reading all of its 14,000 files, and loading it."""

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

_RANDOM_SEED, _NUMPY_SEED = 0, 1234  # those that lm_eval.simple_evaluate sets before it loads tasks
_WORD = re.compile(rb"[\w.+:\-]+")
_DEFINITION = re.compile(rb"^(?:task|group|tag):[ \t]*([\w.+:\-]+)[ \t]*$", re.MULTILINE)


def load(name: str, include_path: Sequence[Path]) -> dict[str, Any]:
    """Return lm-eval's task objects that a task, group or tag consists of, by name.

    Parameters
    ----------
    name : str
    include_path : sequence of Path
        Folders with task files of the user's own; they win over lm-eval's.

    Raises
    ------
    TaskError
        lm-eval is not installed; no such task; its dataset cannot be loaded; its files are wrong.
    """
    for folder in include_path:
        if not folder.is_dir():
            raise TaskError(
                f"include_path: {folder} is not a folder.", "Name folders that hold task YAML files."
            )
    try:
        import lm_eval  # noqa: F401
    except ImportError as error:
        raise TaskError(
            f"task {name}: it names no file, so it is looked for in LM Evaluation Harness, which cannot be imported: "
            f"{error}.",
            "pip install 'quantgate[lm-eval]', or give `file:` for a task of your own.",
        ) from None
    with quiet(), _seeded():
        manager = _manager(name, tuple(include_path))
        try:
            loaded = manager.load([name])
        except Exception as error:  # whatever a task's own code and its dataset raise
            raise _explained(name, error) from error
    tasks: dict[str, Any] = dict(loaded["tasks"])
    if not tasks:
        raise TaskError(f"task {name}: LM Evaluation Harness finds no task in this group.")
    return tasks


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep progress bars and advice of lm-eval and datasets off the screen."""
    datasets: Any = importlib.import_module("datasets")  # it has no types
    shown = datasets.utils.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        if not shown:
            datasets.enable_progress_bars()


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """Set the seeds that lm-eval sets (some tasks shuffle their documents), and put back what was."""
    import numpy as np

    before, arrays = random.getstate(), np.random.get_state()
    random.seed(_RANDOM_SEED)
    np.random.seed(_NUMPY_SEED)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(arrays)


def _explained(name: str, error: Exception) -> TaskError:
    text = " ".join(str(error).split())
    text = text if len(text) <= 300 else text[:297] + "..."
    kinds = {cls.__name__ for cls in type(error).__mro__}
    if kinds & {"OSError", "DatasetNotFoundError", "OfflineModeIsEnabled", "DatasetGenerationError"}:
        return TaskError(
            f"task {name}: its dataset cannot be loaded: {type(error).__name__}: {text}",
            "Datasets come from the Hugging Face hub: check the network, HF_HUB_OFFLINE and HF_TOKEN, or fill the "
            "cache (HF_HOME) on a machine that is online.",
        )
    if isinstance(error, ImportError):
        return TaskError(
            f"task {name}: its code needs a package that cannot be imported: {text}", "Install that package."
        )
    return TaskError(f"task {name}: LM Evaluation Harness cannot load it: {type(error).__name__}: {text}")


def _manager(name: str, include_path: tuple[Path, ...]) -> Any:
    """Return a TaskManager that knows `name` and everything that it is made of.

    Raises
    ------
    TaskError
        No such task.
    """
    known: dict[str, None] = {}
    wanted = {name}
    while True:
        folders = _folders(known | dict.fromkeys(wanted))
        manager = _scan(folders, include_path)
        index = manager.task_index
        known |= dict.fromkeys(wanted)
        wanted = {part for one in known if one in index for part in _parts(index[one])} - set(known)
        if not wanted:
            break
    if name in index:
        return manager
    near = difflib.get_close_matches(name, [*_names(), *index], n=3, cutoff=0.6)
    raise TaskError(
        f"task {name}: it names no file, and LM Evaluation Harness has no task, group or tag of that name.",
        (f"Did you mean {' or '.join(near)}? " if near else "")
        + "Give `file:` for a task of your own, or `include_path:` for a folder of task YAML files.",
    )


def _parts(entry: Any) -> set[str]:
    """Return the names that a group or a tag is made of."""
    found = {str(tag) for tag in entry.tags} if entry.kind.name == "TAG" else set()
    waiting = [(entry.cfg or {}).get("task")] if entry.kind.name == "GROUP" else []
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += [value.get("task"), value.get("group")]
    return found


@functools.cache
def _scan(folders: tuple[Path, ...], include_path: tuple[Path, ...]) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=[*folders, *include_path], include_defaults=False)


def _folders(names: Iterable[str]) -> tuple[Path, ...]:
    """Return the folders of lm-eval's tasks whose files mention one of the names.

    lm-eval itself reads every file, which takes many seconds. Of equal names the first in order of path counts there;
    between folders that are named to it the last one does: hence the order.
    """
    wanted = {name.encode() for name in names}
    root = _root()
    found = [folder for folder, words in _mentions().items() if not wanted.isdisjoint(words)]
    return tuple(root / folder for folder in sorted(found, key=lambda folder: folder + "/", reverse=True))


def _root() -> Path:
    import lm_eval.tasks

    return Path(str(lm_eval.tasks.__file__)).parent


@functools.cache
def _texts() -> dict[str, list[bytes]]:
    """Return the YAML texts (also `_default_template_yaml` and the like) below each folder of lm-eval's tasks."""
    root = _root()
    texts: dict[str, list[bytes]] = {}
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir() and entry.name != "__pycache__"):
        paths = (path for path in folder.rglob("*") if path.name.endswith(("yaml", "yml")) or not path.suffix)
        texts[folder.name] = [path.read_bytes() for path in paths if path.is_file()]
    return texts


@functools.cache
def _mentions() -> dict[str, frozenset[bytes]]:
    return {
        folder: frozenset(word for text in texts for word in _WORD.findall(text))
        for folder, texts in _texts().items()
    }


def _names() -> list[str]:
    """Return the names of tasks and groups, for advice."""
    found = {name for texts in _texts().values() for text in texts for name in _DEFINITION.findall(text)}
    return sorted(name.decode("utf-8", "replace") for name in found)
