"""Which tool wrote a file or folder, judged by names, and by the first object where names do not tell."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from gate.common.jsonlines import first_object, read_json
from gate.common.lm_eval import SAMPLES_PREFIX, is_results_name
from gate.errors import SampleError
from gate.importers.files import LINES, READABLE, TABLES, files_in, no_rows, refuse_empty, subfolders


class Kind(Enum):
    """The supported formats."""

    TABLE = "table"
    HARNESS = "LM Evaluation Harness"
    INSPECT = "Inspect"
    NEMO = "NeMo Evaluator"


def kind_of(path: Path) -> Kind:
    """Return the format of a file or folder.

    Raises
    ------
    SampleError
        The path does not exist, is empty, or has no supported format.
    """
    if path.is_dir():
        return _folder_kind(path)
    if not path.exists():
        raise SampleError(f"{path} does not exist.", "Check the path; it is relative to the working directory.")
    refuse_empty(path)
    suffix = path.suffix.lower()
    if suffix in LINES:
        return _lines_kind(path)
    if suffix in TABLES:
        return Kind.TABLE
    if suffix == ".eval":
        return Kind.INSPECT
    if suffix == ".json":
        return _json_kind(path)
    raise SampleError(f"{path}: no importer reads the suffix {suffix or '(none)'!r}.", READABLE)


def harness_files(folder: Path) -> list[Path]:
    """Return the `samples_*.jsonl` of a folder."""
    return [path for path in files_in(folder, LINES) if path.name.startswith(SAMPLES_PREFIX)]


def nemo_bundles(folder: Path) -> list[Path]:
    """Return the `eval-*.json` of a folder that also has a `results.jsonl`."""
    if not (folder / "results.jsonl").is_file():
        return []
    return [path for path in files_in(folder, (".json",)) if path.name.startswith("eval-")]


def _folder_kind(folder: Path) -> Kind:
    if (folder / "manifest.json").exists():
        raise SampleError(
            f"{folder} has a manifest.json: it is a quantgate sample set, not a folder of another tool.",
            "Pass the folder of the sample set to `gate compare`; its data files are not read without the manifest.",
        )
    folders = [folder, *subfolders(folder)]
    if any(map(harness_files, folders)):
        return Kind.HARNESS
    if files_in(folder, (".eval",)):
        return Kind.INSPECT
    if any(map(nemo_bundles, folders)):
        return Kind.NEMO
    if files_in(folder, TABLES):
        lines = files_in(folder, LINES)
        return _lines_kind(lines[0]) if lines and lines[0].stat().st_size else Kind.TABLE
    logs = files_in(folder, (".json",))
    if logs:
        summaries = [path for path in logs if is_results_name(path.name)]
        return _json_kind((summaries or logs)[0])
    names = sorted(entry.name for entry in folder.iterdir())
    content = f"It holds {len(names)} entries: {', '.join(names[:5])}." if names else "It is empty."
    raise SampleError(f"{folder} holds no samples. {content}", READABLE)


def _lines_kind(path: Path) -> Kind:
    row = first_object(path)
    if row is None:
        raise no_rows(path)
    if "doc_id" in row and ("filtered_resps" in row or "resps" in row):
        return Kind.HARNESS
    if "problem_idx" in row and "reward" in row:
        return Kind.NEMO
    return Kind.TABLE


def _json_kind(path: Path) -> Kind:
    if path.name.startswith("eval-") and nemo_bundles(path.parent):
        return Kind.NEMO
    if is_results_name(path.name):
        raise SampleError(
            f"{path} is the summary of an LM Evaluation Harness run; it holds no answers per sample.",
            "Run lm_eval with --log_samples, and pass the folder with the samples_*.jsonl.",
        )
    content = read_json(path)
    if "eval" in content and "version" in content:
        return Kind.INSPECT
    if "verdict" in content:
        raise SampleError(f"{path} is the result of a comparison, not samples.", "Render it with `gate report`.")
    keys = ", ".join(list(content)[:8]) or "(none)"
    raise SampleError(f"{path} is JSON, but not an Inspect log; its keys: {keys}.", READABLE)
