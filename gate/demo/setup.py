"""Sets up the demo's folder as a user would: models, task files, and one gate.yml per candidate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gate.demo import models
from gate.demo.suite import SuiteTask, write_suite


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


def write_configs(folder: Path, items: int | None = None) -> dict[str, Path]:
    """Write the task files and one gate.yml per candidate; return the paths of the latter by candidate.

    `items` limits the number of items of each task.
    """
    tasks = [_task(task, folder) for task in write_suite(folder / "suite")]
    dtype = "bfloat16" if native_bfloat16() else "float32"
    paths = {}
    for candidate in CANDIDATES:
        config = {
            "version": 1,
            "baseline": {"model": "models/baseline", "dtype": dtype},
            "candidate": {"dtype": dtype, **candidate.settings},
            "engine": {"kind": "transformers", "device": "cpu"},
            "tasks": tasks,
            "samples": {"limit": items},
            "decision": {"alpha": 0.05, "rule": "omnibus"},
            "report": {
                "markdown": f"report-{candidate.name}.md",
                "html": f"report-{candidate.name}.html",
                "json": f"result-{candidate.name}.json",
            },
        }
        path = folder / f"gate-{candidate.name}.yml"
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=110)
        path.write_text(text, encoding="utf-8")
        paths[candidate.name] = path
    return paths


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
