"""Files and folders that other tools wrote: listing them, refusing empty ones, and recording what was read."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from gate.errors import SampleError

LINES = (".jsonl", ".ndjson")
TABLES = (".csv", ".tsv", ".parquet", ".pq", *LINES)
READABLE = (
    "Supported: a quantgate sample set; CSV, JSONL or Parquet with the columns task, item_id, output, target and "
    "correct (or score); samples_*.jsonl of LM Evaluation Harness; Inspect logs (.eval, .json); results.jsonl of "
    "NeMo Evaluator; or a folder of these."
)
_STOPPED = "Check whether the evaluation stopped before it wrote its samples."


def files_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the files of a folder with one of the suffixes, by name, without hidden files."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix.lower() in suffixes and not path.name.startswith(".")
    )


def subfolders(folder: Path) -> list[Path]:
    """Return the subfolders of a folder, by name, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def refuse_empty(path: Path) -> None:
    """Raise SampleError if a file has no bytes."""
    if path.stat().st_size == 0:
        raise SampleError(f"{path} is empty (0 bytes).", _STOPPED)


def no_rows(path: Path) -> SampleError:
    """Return the error for a file without rows."""
    return SampleError(f"{path} holds no rows.", _STOPPED)


def refuse_models(path: Path, models: Iterable[object]) -> None:
    """Raise SampleError if a folder holds the samples of more than one model."""
    names = sorted({str(model) for model in models})
    if len(names) > 1:
        raise SampleError(
            f"{path} holds the samples of {len(names)} models: {shorten(names)}.",
            "Move the files of each model into a folder of their own.",
        )


def label_of(path: Path) -> str:
    """Return the label of the model whose samples are at `path`."""
    return (path.name or path.resolve().name) if path.is_dir() else path.stem  # Path(".") has no name


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
