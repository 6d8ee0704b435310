"""Sets up the demo's folder as a user would: models, task files, and a gate.yml with all candidates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gate.demo import models
from gate.demo.suite import SuiteTask, write_prose, write_suite


@dataclass(frozen=True)
class Candidate:
    """One candidate of the demo.

    Attributes
    ----------
    expected : str
        The expected verdict. It is only compared with the result.
    settings : dict
        The candidate's section in gate.yml.
    write : callable or None
        Writes the candidate's model folder from the baseline's; None if it is the baseline itself.
    """

    name: str
    description: str
    expected: str
    settings: dict[str, Any]
    write: Callable[[Path, Path], None] | None


CANDIDATES = (
    Candidate(
        "lossless",
        "the same weights at another batch size",
        "PASS",
        {"model": "models/baseline", "engine": {"max_batch_tokens": 384}},
        None,
    ),
    Candidate("int8", "8-bit weights (torchao)", "PASS", {"model": "models/int8"}, models.write_int8),
    Candidate(
        "damaged",
        "3-bit round-to-nearest, groups of 16",
        "FAIL",
        {"model": "models/damaged"},
        models.write_damaged,
    ),
)


def native_bfloat16() -> bool:
    """Tell whether this CPU multiplies bfloat16 matrices in hardware; if not, float32 is several times faster."""
    import torch

    check = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(check and check())


def write_models(folder: Path, message: Callable[[str], None]) -> None:
    """Write the checkpoints of the baseline and the candidates that do not exist yet."""
    baseline = folder / "models" / "baseline"
    if not baseline.exists():
        message("writing SmolLM2-135M-Instruct as bfloat16 safetensors")
        models.write_baseline(baseline)
    for candidate in CANDIDATES:
        path = folder / "models" / candidate.name
        if candidate.write is not None and not path.exists():
            message(f"quantising {candidate.name}: {candidate.description}")
            candidate.write(baseline, path)


def write_config(folder: Path, items: int | None = None) -> Path:
    """Write the task files and a gate.yml with all candidates; return its path.

    `items` limits the number of items of each task, and of windows of the text.
    """
    tasks = [_task(task, folder) for task in write_suite(folder / "suite")]
    prose = write_prose(folder / "suite").relative_to(folder).as_posix()
    # advisory: its windows are few, and every quantisation makes a text a little less likely
    tasks.append({"name": "prose", "kind": "text", "file": prose, "window": 240, "role": "advisory"})
    dtype = "bfloat16" if native_bfloat16() else "float32"
    config = {
        "version": 1,
        "baseline": {"model": "models/baseline", "dtype": dtype},
        "candidates": [{"name": one.name, "dtype": dtype, **one.settings} for one in CANDIDATES],
        "engine": {"kind": "transformers", "device": "cpu"},
        "tasks": tasks,
        "samples": {"limit": items},
        # with a control, the baseline would answer again in the batches of `lossless`: the same model in all respects
        "decision": {"alpha": 0.05, "rule": "omnibus", "control": "never"},
        "report": {"markdown": "report.md", "html": "report.html", "json": "result.json"},
    }
    path = folder / "gate-demo.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=110), encoding="utf-8")
    return path


def _task(task: SuiteTask, folder: Path) -> dict[str, Any]:
    return {
        "name": task.name,
        "file": task.file.relative_to(folder).as_posix(),
        "kind": "multiple_choice",
        "prompt": "{{ question }}",
        "choices": "{{ choices }}",
        "answer": "{{ gold }}",
        "metric": task.metric,
    }
