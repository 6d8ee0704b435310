"""Samples that other tools wrote, as `ModelSamples`."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from gate.errors import SampleError
from gate.importers.detect import find_samples
from gate.importers.files import READABLE, refuse_odd_tasks
from gate.importers.reading import Reading
from gate.importers.recognise import Kind
from gate.samples.record import ModelSamples

__all__ = ["read_foreign"]

Reader = Callable[[Path, Sequence[Path], Reading], ModelSamples]
_READERS = {
    Kind.HARNESS: ("harness", "read_harness"),
    Kind.INSPECT: ("inspect_logs", "read_inspect"),
    Kind.NEMO: ("nemo", "read_nemo"),
    Kind.LIGHTEVAL: ("lighteval", "read_lighteval"),
    Kind.HELM: ("helm", "read_helm"),
    Kind.EVALSCOPE: ("evalscope", "read_evalscope"),
    Kind.OPENCOMPASS: ("opencompass", "read_opencompass"),
    Kind.PROMPTFOO: ("promptfoo", "read_promptfoo"),
    Kind.DEEPEVAL: ("deepeval", "read_deepeval"),
    Kind.JUDGED: ("judged", "read_judged"),
    Kind.TABLE: ("tabular", "read_tabular"),
}


def read_foreign(
    path: Path,
    *,
    metric: str | None = None,
    filter_name: str | None = None,
    tasks: Iterable[str] = (),
    lower_is_better: Iterable[str] = (),
    higher_is_better: Iterable[str] = (),
    allow_partial: bool = False,
) -> ModelSamples:
    """Read the samples of one model from a file or folder of another tool.

    Parameters
    ----------
    path : Path
        CSV, TSV, JSON, JSONL or Parquet; `samples_*.jsonl` of LM Evaluation Harness; an Inspect log; `results.jsonl` of
        NeMo Evaluator; details of lighteval; `per_instance_stats.json` of HELM; reviews of evalscope; results of
        OpenCompass (with details), promptfoo or DeepEval; verdicts of judges (MT-Bench, AlpacaEval, Arena-Hard), where
        FILE::MODEL names the model; or a folder of one of these. CSV, JSON and JSONL files may be compressed (.gz,
        .zst).
    metric : str, optional
        The metric to read. Default: the only one, else the first of `gate.common.lm_eval.DEFAULT_METRICS`, with a note.
    filter_name : str, optional
        The filter to read (LM Evaluation Harness). Default: the only one, else the first of
        `gate.common.lm_eval.DEFAULT_FILTERS`, with a note.
    tasks : iterable of str
        Read only these tasks. Default: all.
    lower_is_better, higher_is_better : iterable of str
        Metrics (or tasks) of which lower or higher values are better. Needed only where neither the name of the metric
        nor the file tells.
    allow_partial : bool, default False
        Leave out samples that ended with an error, with a note, instead of raising.

    Returns
    -------
    ModelSamples
        `score` is finite, and larger is better: where lower values of a metric are better, its sign is changed and its
        name is "-METRIC". `correct` is null for tasks with scores other than 0 and 1.

    Raises
    ------
    SampleError
        The file cannot be read; the message names the file, what was expected, what was found and the next step.
    """
    path = Path(path)
    reading = Reading.of(metric, filter_name, tasks, lower_is_better, higher_is_better, allow_partial)
    if "::" in str(path) and not path.exists():
        file, _, model = str(path).partition("::")
        path, reading = Path(file), replace(reading, model=model)
    try:
        found = find_samples(path)
        if reading.model is not None and found.kind is not Kind.JUDGED:
            raise SampleError(f"{path} has the format {found.kind.value}, which has one model.", "Leave out ::MODEL.")
        samples = _read(found.kind, path, found.files, reading)
    except (OSError, UnicodeError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SampleError(f"{path} cannot be read: {reason}.", READABLE) from None
    refuse_odd_tasks(path, samples.tasks)
    return replace(samples, left_out=(*samples.left_out, *found.left_out))


def _read(kind: Kind, path: Path, files: tuple[Path, ...], reading: Reading) -> ModelSamples:
    module, name = _READERS[kind]
    reader: Reader = getattr(import_module(f"gate.importers.{module}"), name)  # loads no other reader
    return reader(path, files, reading)
