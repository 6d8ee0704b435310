"""Files and folders that other tools wrote: listing them, refusing empty ones, and recording what was read."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from gate.common.compressed import is_compressed, plain_name
from gate.errors import SampleError

LINES = (".jsonl", ".ndjson")
TABLES = (".csv", ".tsv", ".parquet", ".pq", *LINES)
READABLE = (
    "Supported: a quantgate sample set; CSV, JSON, JSONL or Parquet with the columns task, item_id, output, target and "
    "correct (or score); samples_*.jsonl of LM Evaluation Harness; Inspect logs (.eval, .json); results.jsonl of "
    "NeMo Evaluator; details of lighteval; per_instance_stats.json of HELM; reviews of evalscope; results of "
    "OpenCompass (with details), promptfoo and DeepEval; verdicts of MT-Bench, AlpacaEval and Arena-Hard; CSV, "
    "JSON and JSONL also as .gz or .zst; or a folder of these."
)
MOST_TASKS = 2_000
_LONGEST_NAME = 500  # characters
_DEPTH = 8
_ARCHIVES = {
    b"\x1f\x8b": ("compressed with gzip", "Add .gz to its name."),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "Add .zst to its name."),
    b"PK\x03\x04": ("a ZIP archive, or an Excel workbook", "Unpack it, or save the sheet as CSV in UTF-8."),
}
_STOPPED = "Check whether the evaluation stopped before it wrote its samples."


def suffix_of(path: Path) -> str:
    """Return the suffix of a file in lower case, without that of its compression."""
    return Path(plain_name(path)).suffix.lower()


def stem_of(path: Path) -> str:
    """Return the name of a file without its suffix and that of its compression."""
    return Path(plain_name(path)).stem


def files_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the files of a folder with one of the suffixes, by name, without hidden files."""
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and suffix_of(path) in suffixes and path.is_file()
    )


def files_below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the files of a folder and its subfolders with one of the suffixes, without hidden ones.

    Links to folders are not followed, and neither are folders more than `_DEPTH` levels down.
    """
    found = files_in(folder, suffixes)
    level = [folder]
    for _ in range(_DEPTH):
        level = [
            subfolder
            for parent in level
            for subfolder in sorted(parent.iterdir())
            if subfolder.is_dir() and not subfolder.is_symlink() and not subfolder.name.startswith(".")
        ]
        for subfolder in level:
            found += files_in(subfolder, suffixes)
    return found


def refuse_empty(path: Path) -> None:
    """Raise SampleError if a file has no bytes."""
    if path.stat().st_size == 0:
        raise SampleError(f"{path} is empty (0 bytes).", _STOPPED)


def refuse_archives(path: Path) -> None:
    """Raise SampleError if a file that should hold text is compressed although its name does not say so."""
    with path.open("rb") as handle:
        start = handle.read(4)
    for magic, (content, hint) in () if is_compressed(path) else _ARCHIVES.items():
        if start.startswith(magic):
            raise SampleError(f"{path} is {content}.", hint)


def no_rows(path: Path) -> SampleError:
    """Return the error for a file without rows."""
    return SampleError(f"{path} holds no rows.", _STOPPED)


def no_score(path: Path, task: str) -> str:
    """Return the line about a file whose task is left out."""
    return f"{path.name}: task {task} has no score per sample."


def refuse_models(path: Path, models: Iterable[object]) -> None:
    """Raise SampleError if a folder holds the samples of more than one model."""
    names = sorted({str(model) for model in models})
    if len(names) > 1:
        raise SampleError(
            f"{path} holds the samples of {len(names)} models: {shorten(names)}.",
            "Move the files of each model into a folder of their own.",
        )


def refuse_odd_tasks(path: Path, names: Collection[str]) -> None:
    """Raise SampleError if there are too many tasks to test, or one has a name that no report can show."""
    if len(names) > MOST_TASKS:
        raise SampleError(
            f"{path} holds {len(names):,} tasks, e.g. {shorten([name[:40] for name in list(names)[:3]])}; at most "
            f"{MOST_TASKS:,} can be compared.",
            "Check whether the names of tasks and items were exchanged, or choose tasks with --task.",
        )
    longest = max(names, key=len, default="")
    if len(longest) > _LONGEST_NAME:
        raise SampleError(
            f"{path}: the name of a task has {len(longest):,} characters: {longest[:40]}...; expected at most "
            f"{_LONGEST_NAME}.",
            "Check whether the columns were exchanged.",
        )


def label_of(path: Path) -> str:
    """Return the label of the model whose samples are at `path`."""
    return (path.name or path.resolve().name) if path.is_dir() else stem_of(path)  # Path(".") has no name


def source_files(paths: Sequence[Path]) -> list[dict[str, object]]:
    """Return name, size in bytes and SHA-256 of files, for the audit trail."""
    entries: list[dict[str, object]] = []
    for path in paths:
        with path.open("rb") as handle:
            sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
        entries.append({"name": path.name, "bytes": path.stat().st_size, "sha256": sha256})
    return entries


def shorten(names: Sequence[str], limit: int = 5) -> str:
    """Join names for a message: the first ones, and the number of the rest."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
