"""What an Inspect log says about its task: arguments, epochs and their reducer, and samples that did not finish."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gate.common.canonical import canonical_json
from gate.errors import SampleError
from gate.importers.build import refuse_unscored
from gate.importers.files import shorten


def task_names(headers: Mapping[Path, Any]) -> dict[Path, str]:
    """Return the name of the task of each log.

    Where the logs of one task differ in its arguments, these are added: `mmlu(subject="law")`. They are different
    tasks; only equal ones are runs of the same task.
    """
    logs: dict[str, list[Path]] = {}
    for file, header in headers.items():
        logs.setdefault(str(header.eval.task), []).append(file)
    names = {}
    for task, files in logs.items():
        arguments = {file: dict(headers[file].eval.task_args or {}) for file in files}
        keys = sorted({key for values in arguments.values() for key in values})
        different = [key for key in keys if len({canonical_json(arguments[file].get(key)) for file in files}) > 1]
        for file in files:
            shown = ", ".join(f"{key}={canonical_json(arguments[file].get(key))}" for key in different)
            names[file] = f"{task}({shown})" if different else task
    return names


def complete_samples(log: Any, where: str, allow_partial: bool, notes: list[str]) -> list[Any]:
    """Return the samples of a log; with `allow_partial`, those that ended without an error, and a note on the others.

    Raises
    ------
    SampleError
        The run is not complete, or samples have an error.
    """
    samples = list(log.samples or [])
    planned = log.results.total_samples if log.results else None
    if log.status != "success" or (planned is not None and planned != len(samples)):
        total = "" if planned is None else f" of {planned}"
        raise SampleError(
            f"{where}: the run is not complete: status {log.status!r}, {len(samples)}{total} samples logged.",
            "Finish it with `inspect eval-retry FILE`, and log every sample.",
        )
    if not samples:
        raise SampleError(f"{where}: the log has no samples.", "Run without --no-log-samples.")
    for reason, wrong in (
        ("ended with an error", [sample for sample in samples if sample.error is not None]),
        ("were marked invalid", [sample for sample in samples if getattr(sample, "invalidation", None) is not None]),
    ):
        names = [sample_name(sample) for sample in wrong]
        if not allow_partial or len(wrong) == len(samples):
            refuse_unscored(names, len(samples), where, reason)
        elif wrong:
            notes.append(f"{where}: {len(wrong)} of {len(samples)} samples {reason}; left out: {shorten(names)}.")
            left_out = {id(sample) for sample in wrong}
            samples = [sample for sample in samples if id(sample) not in left_out]
    return samples


def reduced_values(log: Any, scorer: str, where: str) -> tuple[str | None, dict[str, Any]]:
    """Return the reducer over epochs and the reduced value of each sample by id; None for the mean.

    Of several reducers, the mean is taken, else the first.

    Raises
    ------
    SampleError
        The log has no scores of the reducer.
    """
    reducers = [str(name) for name in log.eval.config.epochs_reducer or ["mean"]]
    if (log.eval.config.epochs or 1) == 1 or "mean" in reducers:
        return None, {}
    name, _, key = scorer.partition("/")
    for entry in log.reductions or []:
        if entry.reducer == reducers[0] and entry.scorer in (scorer, name):
            values = {str(sample.sample_id): sample.value for sample in entry.samples}
            if entry.scorer != scorer:
                values = {item: value[key] for item, value in values.items() if isinstance(value, Mapping)}
            return reducers[0], values
    raise SampleError(
        f"{where}: {log.eval.config.epochs} epochs with the reducer {reducers[0]}, but the log holds no reduced scores "
        f"of {scorer}.",
        "Score the log again with `inspect score FILE`.",
    )


def sample_name(sample: Any) -> str:
    """Return the id of a sample, with its epoch if it is not the first."""
    return str(sample.id) if sample.epoch == 1 else f"{sample.id} (epoch {sample.epoch})"
