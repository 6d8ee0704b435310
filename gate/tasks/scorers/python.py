"""The scorer `python`: a function of the user, from a folder of include_path."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import PathEntryFinder
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from gate.common.canonical import text_digest
from gate.errors import EvaluationError, TaskError
from gate.tasks.own_files import digest_of_files
from gate.tasks.scorers.base import Grade, Scorer


class PythonFunction(Scorer):
    """The number or truth value that a function returns for the text and the document.

    Parameters
    ----------
    name : str
        MODULE:FUNCTION.
    folders : sequence of Path
        Folders of include_path, in which the module is searched. Their code is trusted, as that of task files is.
    scale : (low, high)
        Range of the scores.
    lower_is_better : bool
        Scores are then negated.

    Raises
    ------
    TaskError
        No such module or function, or the module cannot be imported.
    """

    def __init__(
        self, name: str, folders: Sequence[Path], scale: tuple[float, float] = (0.0, 1.0), lower_is_better: bool = False
    ) -> None:
        self._name, self._scale, self._negate = name, scale, lower_is_better
        self._function = _load(name, folders)
        self._facets = {"code": f"Python files below include_path, sha256 {digest_of_files(folders, ('.py',))}"}

    @property
    def facets(self) -> Mapping[str, str]:
        """A digest of all Python files below include_path."""
        return self._facets

    def grade(self, text: str, targets: Sequence[str], document: Mapping[str, Any]) -> Grade:
        """Call the function.

        Raises
        ------
        EvaluationError
            The function fails, or returns something other than a truth value or a number in the range of scores.
        """
        try:
            value = self._function(text, copy.deepcopy(dict(document)))
        except Exception as error:  # the user's own code
            raise EvaluationError(
                f"scorer {self._name} failed: {type(error).__name__}: {error}", "The error is in this function."
            ) from error
        if isinstance(value, bool | np.bool_) and not self._negate:
            return Grade.of(bool(value))
        if not isinstance(value, int | float | np.bool_ | np.integer | np.floating):
            raise EvaluationError(
                f"scorer {self._name} returned {_short(value)}; expected True, False or a number.",
                "Return one number per text.",
            )
        score, (low, high) = float(value), self._scale
        if not math.isfinite(score) or not low <= score <= high:
            raise EvaluationError(
                f"scorer {self._name} returned {_short(value)}; expected a number from {low:g} to {high:g}.",
                "Set `scale: [lowest, highest]` of the task to the range of the scores.",
            )
        return Grade(-score if self._negate else score, None)


def _load(name: str, folders: Sequence[Path]) -> Callable[[str, dict[str, Any]], object]:
    module_name, _, function_name = name.partition(":")
    relative = Path(*module_name.split("."))
    candidates = [
        (folder, folder / path)
        for folder in folders
        for path in (relative.with_suffix(".py"), relative / "__init__.py")
    ]
    found = next(((folder, path) for folder, path in candidates if path.is_file()), None)
    if found is None:
        searched = ", ".join(map(str, folders)) or "none are listed"
        raise TaskError(
            f"scorer {name}: no folder of include_path has the file {relative.with_suffix('.py')} ({searched}).",
            "Put the file into a folder, and list the folder in `include_path:`. Its code is run.",
        )
    module = _import(name, *found)
    function = getattr(module, function_name, None)
    if not callable(function):
        raise TaskError(f"scorer {name}: {found[1]} has no function {function_name}.")
    return function  # type: ignore[no-any-return]


def _import(name: str, folder: Path, path: Path) -> ModuleType:
    """Run a module from the source that is hashed, not from a cached file."""
    source = path.read_bytes()
    # a name of its own: it can neither replace a module of a package nor be replaced by one
    module = ModuleType(f"quantgate_scorer_{text_digest(str(path.resolve()))[:16]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        with _importable(folder):
            exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - trusted
    except Exception as error:  # the user's own code
        raise TaskError(
            f"scorer {name}: {path} cannot be imported: {type(error).__name__}: {error}",
            "Import other files of the folder by their names (`import other`), at the top of the module.",
        ) from error
    return module


class _FromSource(SourceFileLoader):
    """Compiles the file: cached bytecode may be of an older file that has the same size and second of writing."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let a module import others of its folder; they are forgotten afterwards, so that changed ones are read again."""
    root = folder.resolve()
    files = FileFinder.path_hook((_FromSource, SOURCE_SUFFIXES), (ExtensionFileLoader, EXTENSION_SUFFIXES))

    def hook(path: str) -> PathEntryFinder:
        if not Path(path).resolve().is_relative_to(root):
            raise ImportError("another folder")
        return files(path)

    before = set(sys.modules)
    _forget_finders(root)
    sys.path.insert(0, str(root))
    sys.path_hooks.insert(0, hook)
    try:
        yield
    finally:
        sys.path_hooks.remove(hook)
        sys.path.remove(str(root))
        _forget_finders(root)
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).resolve().is_relative_to(root):
                del sys.modules[name]


def _forget_finders(root: Path) -> None:
    for path in list(sys.path_importer_cache):
        if Path(path).resolve().is_relative_to(root):
            del sys.path_importer_cache[path]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
