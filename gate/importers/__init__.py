"""Samples that other tools wrote, as `ModelSamples`."""

from __future__ import annotations

from pathlib import Path

from gate.errors import SampleError
from gate.importers.detect import Kind, kind_of
from gate.importers.files import READABLE
from gate.samples.record import ModelSamples

__all__ = ["read_foreign"]


def read_foreign(path: Path, *, metric: str | None = None, filter_name: str | None = None) -> ModelSamples:
    """Read the samples of one model from a file or folder of another tool.

    Parameters
    ----------
    path : Path
        CSV, TSV, JSONL or Parquet; `samples_*.jsonl` of LM Evaluation Harness; an Inspect log; `results.jsonl` of
        NeMo Evaluator; or a folder of one of these.
    metric : str, optional
        The metric to read. Default: the only one, else the first of `gate.common.lm_eval.DEFAULT_METRICS`, with a note.
    filter_name : str, optional
        The filter to read (LM Evaluation Harness). Default: the only one, else the first of
        `gate.common.lm_eval.DEFAULT_FILTERS`, with a note.

    Returns
    -------
    ModelSamples
        `score` is finite; `correct` is null for tasks with scores other than 0 and 1.

    Raises
    ------
    SampleError
        The file cannot be read; the message names the file, what was expected, what was found and the next step.
    """
    path = Path(path)
    try:
        kind = kind_of(path)
        if kind is Kind.HARNESS:
            from gate.importers.harness import read_harness

            return read_harness(path, metric=metric, filter_name=filter_name)
        if kind is Kind.INSPECT:
            from gate.importers.inspect_logs import read_inspect

            return read_inspect(path, metric=metric)
        if kind is Kind.NEMO:
            from gate.importers.nemo import read_nemo

            return read_nemo(path, metric=metric)
        from gate.importers.tabular import read_tabular

        return read_tabular(path, metric=metric)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SampleError(f"{path} cannot be read: {reason}.", READABLE) from None
