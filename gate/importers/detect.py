"""Which tool wrote a file or folder, judged by names, and by the first object where names do not tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.common.compressed import open_binary, plain_name
from gate.common.jsonlines import first_object, read_json
from gate.common.lm_eval import is_results_name, is_samples_name
from gate.errors import SampleError
from gate.importers.files import (
    LINES,
    READABLE,
    TABLES,
    files_below,
    files_in,
    no_rows,
    refuse_archives,
    refuse_empty,
    stem_of,
    suffix_of,
)
from gate.importers.recognise import Kind, UnscoredFileError, is_companion, kind_of_object, kind_of_row

_LIGHTEVAL = (
    {"doc", "metric", "model_response"},
    {"__doc__", "__metric__", "__model_response__"},
    {"metrics", "predictions", "full_prompt"},
)
_HEAD = 256  # bytes of a summary, whose first key tells the tool
_LINES_IN_JSON = 1 << 20  # bytes; a longer first line of a .json file is not looked at on its own


@dataclass(frozen=True)
class Found:
    """The files to read, all of one format, and one line per file that is left out, with the reason."""

    kind: Kind
    files: tuple[Path, ...]
    left_out: tuple[str, ...] = ()


def find_samples(path: Path) -> Found:
    """Return the files with samples at a path: the file itself, or those in a folder.

    The files directly in a folder come first; its subfolders are searched only if it holds no samples itself.

    Raises
    ------
    SampleError
        The path does not exist, is empty, or has no supported format.
    """
    if path.is_dir():
        return _in_folder(path)
    if not path.exists():
        raise SampleError(f"{path} does not exist.", "Check the path; it is relative to the working directory.")
    if not path.is_file():
        raise SampleError(
            f"{path} is not a regular file, but a pipe, a device or a socket.", "Write its content to a file first."
        )
    refuse_empty(path)
    return Found(_kind_of(path), (path,))


def nemo_bundles(folder: Path) -> list[Path]:
    """Return the `eval-*.json` of a folder that also has a `results.jsonl`."""
    if not (folder / "results.jsonl").is_file():
        return []
    return [path for path in files_in(folder, (".json",)) if path.name.startswith("eval-")]


def _in_folder(folder: Path) -> Found:
    if (folder / "manifest.json").exists():
        raise SampleError(
            f"{folder} has a manifest.json: it is a quantgate sample set, not a folder of another tool.",
            "Pass the folder of the sample set to `gate compare`; its data files are not read without the manifest.",
        )
    kinds: dict[Path, Kind] = {}
    others: dict[Path, SampleError] = {}
    unscored: list[str] = []
    for file in files_below(folder, (".eval", ".json", *TABLES)):
        bundle = file.name.startswith("eval-") and suffix_of(file) == ".json" and nemo_bundles(file.parent)
        if bundle or is_companion(file):  # read together with the scores of the same run
            continue
        try:
            kinds[file] = _kind_of(file) if file.stat().st_size or suffix_of(file) == ".json" else _kind_by_name(file)
        except UnscoredFileError as error:
            unscored.append(f"{file.relative_to(folder)}: {error.message.removeprefix(f'{file} ')}")
            others[file] = error
        except SampleError as error:
            if suffix_of(file) != ".json":
                raise
            others[file] = error
    kind = next((kind for kind in Kind if kind in kinds.values()), None)
    if kind is None:
        raise _no_samples(folder, others)
    members = [file for file, other in kinds.items() if other is kind]
    direct = [file for file in members if file.parent == folder]
    chosen = direct or members
    left_out = [
        f"{file.relative_to(folder)}: {_reason(kinds[file], kind)}." for file in kinds if file not in set(chosen)
    ]
    return Found(kind, tuple(chosen), (*left_out, *unscored))


def _reason(kind: Kind, chosen: Kind) -> str:
    if kind is not chosen:
        return f"has the format {kind.value}, and the folder is read as {chosen.value}"
    return "in a subfolder, and the folder holds samples itself"


def _no_samples(folder: Path, others: Mapping[Path, SampleError]) -> SampleError:
    if others:
        known = [file for file, error in others.items() if isinstance(error, UnscoredFileError)]
        summaries = [file for file in others if is_results_name(file.name)]
        return others[(summaries or known or list(others))[0]]
    names = sorted(entry.name for entry in folder.iterdir())
    content = f"It holds {len(names)} entries: {', '.join(names[:5])}." if names else "It is empty."
    return SampleError(f"{folder} holds no samples. {content}", READABLE)


def _kind_by_name(path: Path) -> Kind:
    return Kind.HARNESS if is_samples_name(path.name) else Kind.TABLE


def _kind_of(path: Path) -> Kind:
    suffix = suffix_of(path)
    if suffix in (*LINES, ".json", ".csv", ".tsv", ".txt"):
        refuse_archives(path)
    if suffix in LINES:
        return _lines_kind(path)
    if suffix in (".parquet", ".pq"):
        return _parquet_kind(path)
    if suffix in TABLES or suffix == ".txt":
        return Kind.TABLE
    if suffix == ".eval":
        return Kind.INSPECT
    if suffix == ".json":
        return _json_kind(path)
    raise SampleError(f"{path}: no importer reads the suffix {path.suffix.lower() or '(none)'!r}.", READABLE)


def _lines_kind(path: Path) -> Kind:
    if is_samples_name(path.name):
        return Kind.HARNESS
    row = first_object(path)
    if row is None:
        raise no_rows(path)
    return kind_of_row(row, path)


def _parquet_kind(path: Path) -> Kind:
    import pyarrow as pa

    from gate.common.parquet import column_names

    try:
        columns = set(column_names(path))
    except (pa.ArrowException, OSError):  # the reader of tables says what is wrong
        return Kind.TABLE
    is_lighteval = any(names <= columns for names in _LIGHTEVAL)
    return Kind.LIGHTEVAL if is_lighteval else Kind.TABLE


def _json_kind(path: Path) -> Kind:
    if path.name.startswith("eval-") and nemo_bundles(path.parent):
        return Kind.NEMO
    row = _first_of_lines(path)
    if row is not None:
        return kind_of_row(row, path)
    if is_results_name(plain_name(path)):
        raise _summary(path)
    content = read_json(path)
    kind = kind_of_object(content, path)
    if kind is not None:
        return kind
    if "verdict" in content:
        raise SampleError(f"{path} is the result of a comparison, not samples.", "Render it with `gate report`.")
    if "results" in content and ("config" in content or "configs" in content or "higher_is_better" in content):
        raise _summary(path)
    keys = ", ".join(list(content)[:8]) or "(none)"
    raise SampleError(f"{path} is JSON, but holds no samples; its keys: {keys}.", READABLE)


def _first_of_lines(path: Path) -> Mapping[str, Any] | None:
    """Return the first row of a .json file that holds a list of rows, or one row per line; None for any other."""
    with open_binary(path) as lines:
        first = lines.readline(_LINES_IN_JSON).removeprefix(b"\xef\xbb\xbf").lstrip()
    if first.startswith(b"["):
        row = first_object(path)
        if row is None:
            raise no_rows(path)
        return row
    try:
        row = json.loads(first)
    except (ValueError, RecursionError):  # an object over several lines
        return None
    known = isinstance(row, dict) and (kind_of_row(row, path) is not Kind.TABLE or "item_id" in row)
    return row if known or (is_samples_name(stem_of(path)) and isinstance(row, dict)) else None


def _summary(path: Path) -> SampleError:
    with open_binary(path) as file:
        is_lighteval = b'"config_general"' in file.read(_HEAD)
    tool = "a lighteval" if is_lighteval else "an LM Evaluation Harness"
    return SampleError(
        f"{path} is the summary of {tool} run; it holds no answers per sample.",
        "Run lighteval with --save-details, and pass the folder details/ of the run."
        if is_lighteval
        else "Run lm_eval with --log_samples, and pass the folder with the samples_*.jsonl.",
    )
