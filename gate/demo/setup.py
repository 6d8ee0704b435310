"""The demo's folder: models, task files and one gate.yml a candidate, as a user would write them."""

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
    name, what : str
    expected : str
        The verdict that a newcomer should see; only ever compared with what came out.
    settings : mapping
        Its section in gate.yml.
    make : callable or None
        Writes its model folder from the baseline's; None where it is the baseline itself.
    """

    name: str
    what: str
    expected: str
    settings: dict[str, Any]
    make: Callable[[Path, Path], None] | None


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
    """Tell whether this CPU multiplies bfloat16 matrices in hardware; where not, float32 is several times faster."""
    import torch

    check = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(check and check())


def write_models(folder: Path, say: Callable[[str], None]) -> None:
    """Write the baseline and the candidates' checkpoints; those that are there already stay."""
    baseline = folder / "models" / "baseline"
    if not baseline.exists():
        say("writing SmolLM2-135M-Instruct as bfloat16 safetensors")
        models.write_baseline(baseline)
    for candidate in CANDIDATES:
        place = folder / "models" / candidate.name
        if candidate.make is not None and not place.exists():
            say(f"quantising {candidate.name}: {candidate.what}")
            candidate.make(baseline, place)


def write_configs(folder: Path, items: int | None = None) -> dict[str, Path]:
    """Write the task files and a gate.yml for each candidate; return the paths by candidate.

    Parameters
    ----------
    folder : Path
    items : int, optional
        Use only the first so many items of each task.
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
                form: f"{kind}-{candidate.name}.{end}"
                for form, kind, end in (
                    ("markdown", "report", "md"),
                    ("html", "report", "html"),
                    ("json", "result", "json"),
                )
            },
        }
        path = folder / f"gate-{candidate.name}.yml"
        path.write_text(
            yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=110), encoding="utf-8"
        )
        paths[candidate.name] = path
    return paths


def _task(task: SuiteTask, folder: Path) -> dict[str, Any]:
    return {
        "name": task.name,
        "file": task.file.relative_to(folder).as_posix(),
        "kind": "multiple_choice",
        "prompt": task.prompt,
        "choices": task.choices,
        "answer": task.answer,
        "metric": task.metric,
    }
