"""What a path holds: by its name where that is telling, by its first object where it is not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path

from gate.errors import SampleError
from gate.importers.jsonlines import first_object, read_json

LINES = (".jsonl", ".ndjson")
TABLES = (".csv", ".tsv", ".parquet", ".pq", *LINES)
FILES = (*TABLES, ".eval", ".json")
READABLE = (
    "Readable: a quantgate sample set; CSV, JSONL or Parquet with the columns task, item_id, output, target, "
    "correct (or score); samples_*.jsonl of LM Evaluation Harness; Inspect logs (.eval, .json); results.jsonl of "
    "NeMo Evaluator; or a folder of these."
)
_RESULTS = re.compile(r"results_\d{4}-\d\d-\d\dT.*\.json$")


class Kind(Enum):
    """The tools whose files are read."""

    TABLE = "table"
    HARNESS = "LM Evaluation Harness"
    INSPECT = "Inspect"
    NEMO = "NeMo Evaluator"


def is_foreign(path: Path) -> bool:
    """Tell whether a path looks like samples of another tool, by names only: no file is parsed.

    False for a quantgate sample set (a folder with `manifest.json`), and for whatever no importer would try.
    """
    if path.is_dir():
        return not (path / "manifest.json").exists() and _named_kind(path) is not None
    return path.is_file() and path.suffix.lower() in FILES


def kind_of(path: Path) -> Kind:
    """Return which importer reads a file or folder.

    Raises
    ------
    SampleError
        None does; the message says what was found instead.
    """
    if path.is_dir():
        return _folder_kind(path)
    if not path.exists():
        raise SampleError(
            f"{path} does not exist.", "Check the path; it is relative to the working directory."
        )
    if path.stat().st_size == 0:
        raise SampleError(
            f"{path} is empty (0 bytes).", "Was the evaluation stopped before it wrote its samples?"
        )
    suffix = path.suffix.lower()
    if suffix in LINES:
        return _lines_kind(path)
    if suffix in TABLES:
        return Kind.TABLE
    if suffix == ".eval":
        return Kind.INSPECT
    if suffix == ".json":
        return _json_kind(path)
    raise SampleError(f"{path}: no reader for the ending {suffix or '(none)'!r}.", READABLE)


def files_in(folder: Path, endings: Iterable[str]) -> list[Path]:
    """Return the files of a folder with one of the endings, by name; hidden files are left out."""
    wanted = tuple(endings)
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.is_file() and entry.suffix.lower() in wanted and not entry.name.startswith(".")
    )


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, by name; hidden ones are left out."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def harness_files(folder: Path) -> list[Path]:
    """Return the `samples_*.jsonl` of a folder."""
    return [path for path in files_in(folder, LINES) if path.name.startswith("samples_")]


def nemo_bundles(folder: Path) -> list[Path]:
    """Return the `eval-*.json` of a folder that stand beside a `results.jsonl`."""
    if not (folder / "results.jsonl").is_file():
        return []
    return [path for path in files_in(folder, (".json",)) if path.name.startswith("eval-")]


def _named_kind(folder: Path) -> Kind | None:
    places = [folder, *subfolders(folder)]
    if any(harness_files(place) for place in places):
        return Kind.HARNESS
    if files_in(folder, (".eval",)):
        return Kind.INSPECT
    if any(nemo_bundles(place) for place in places):
        return Kind.NEMO
    if files_in(folder, TABLES):
        return Kind.TABLE
    return Kind.INSPECT if files_in(folder, (".json",)) else None


def _folder_kind(folder: Path) -> Kind:
    if (folder / "manifest.json").exists():
        raise SampleError(
            f"{folder} has a manifest.json: it is a quantgate sample set, not a folder of another tool.",
            "Give the folder itself to `gate compare`; its shards are not meant to be read without the manifest.",
        )
    kind = _named_kind(folder)
    if kind is Kind.TABLE:
        lines = files_in(folder, LINES)
        return _lines_kind(lines[0]) if lines and lines[0].stat().st_size else kind
    if kind is Kind.INSPECT and not files_in(folder, (".eval",)):
        aggregates = [path for path in files_in(folder, (".json",)) if _RESULTS.match(path.name)]
        if aggregates:
            raise _aggregate_only(aggregates[0])
        return _json_kind(files_in(folder, (".json",))[0])
    if kind is None:
        names = sorted(entry.name for entry in folder.iterdir())
        found = f"It holds {len(names)} entries: {', '.join(names[:5])}." if names else "It is empty."
        raise SampleError(f"{folder} holds no samples. {found}", READABLE)
    return kind


def _lines_kind(path: Path) -> Kind:
    row = first_object(path)
    if row is None:
        raise SampleError(f"{path} holds no rows.", "Was the evaluation stopped before it wrote its samples?")
    if "doc_id" in row and ("filtered_resps" in row or "resps" in row):
        return Kind.HARNESS
    if "problem_idx" in row and "reward" in row:
        return Kind.NEMO
    return Kind.TABLE


def _json_kind(path: Path) -> Kind:
    if path.name.startswith("eval-") and nemo_bundles(path.parent):
        return Kind.NEMO
    if _RESULTS.match(path.name):
        raise _aggregate_only(path)
    content: Mapping[str, object] = read_json(path)
    if "eval" in content and "version" in content:
        return Kind.INSPECT
    if "verdict" in content:
        raise SampleError(
            f"{path} is the result of a comparison, not samples.", "To render it again: `gate report`."
        )
    keys = ", ".join(list(content)[:8]) or "(none)"
    raise SampleError(f"{path} is JSON, but not an Inspect log; its keys: {keys}.", READABLE)


def _aggregate_only(path: Path) -> SampleError:
    return SampleError(
        f"{path} is the summary of an LM Evaluation Harness run: it has no per-sample answers to pair.",
        "Run lm_eval with --log_samples, and give the folder with the samples_*.jsonl.",
    )
