"""Samples of one model, from our own sample sets or the files of other tools."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from gate.samples import ModelSamples


def load_samples(
    path: str | os.PathLike[str],
    *,
    metric: str | None = None,
    filter_name: str | None = None,
    tasks: Iterable[str] = (),
    lower_is_better: Iterable[str] = (),
    higher_is_better: Iterable[str] = (),
    allow_partial: bool = False,
) -> ModelSamples:
    r"""Read the samples of one model; the format is recognised from the file or folder.

    Parameters
    ----------
    path : path
        A folder written by `gate evaluate`, a stored baseline, a file or folder of LM Evaluation Harness
        `samples_*.jsonl`, an Inspect log, results of NeMo Evaluator, lighteval, HELM, evalscope, OpenCompass, promptfoo
        or DeepEval, verdicts of MT-Bench, AlpacaEval or Arena-Hard (FILE::MODEL), or a CSV, JSON, JSONL or Parquet file
        with the columns task, item_id, output, target, correct (or score).
    metric : str, optional
        Metric to read if the files have several.
    filter_name : str, optional
        Filter to read if LM Evaluation Harness files have several.
    tasks : iterable of str
        Read only these tasks. Default: all. A sample set that `gate evaluate` wrote is read whole.
    lower_is_better, higher_is_better : iterable of str
        Metrics (or tasks) of which lower or higher values are better. Needed only where neither the name of the metric
        nor the file tells.
    allow_partial : bool, default False
        Leave out samples that ended with an error of the evaluation (Inspect, evalscope, promptfoo, DeepEval).

    Returns
    -------
    ModelSamples
        `.tasks[name].table` is a pyarrow table with one row per sample; `.to_pandas()` joins all tasks. Larger scores
        are better: where lower values of a metric are, its sign is changed and its name begins with "-".

    Raises
    ------
    SampleError
        The file is missing, damaged, or in no known format.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import gate
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.csv"
    ...     _ = path.write_text("task,item_id,output,target,correct\nfaq,1,x,x,1\nfaq,2,y,x,0\n")
    ...     frame = gate.load_samples(path).to_pandas()
    >>> frame[["item_id", "score"]].values.tolist()
    [['1', 1.0], ['2', 0.0]]
    """
    from gate.store import read_sets

    path = Path(path)
    own = read_sets(path) if path.is_dir() else None
    if own is not None:
        return own
    from gate.importers import read_foreign

    return read_foreign(
        path,
        metric=metric,
        filter_name=filter_name,
        tasks=tasks,
        lower_is_better=lower_is_better,
        higher_is_better=higher_is_better,
        allow_partial=allow_partial,
    )
