"""Clusters come from either side; a blank cluster means that the item stands alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gate.config import DecisionSettings
from gate.decision import decide
from gate.errors import SampleError
from gate.importers import read_foreign
from gate.importers.build import task_samples
from gate.samples import ModelSamples, PairedTask, pair

BLANKS: list[Any] = [None, "", " ", "\t", "nan", "NaN", "None", "null"]


def side(clusters: list[Any] | None, scores: list[float] | None = None, n: int = 60) -> ModelSamples:
    columns: dict[str, Any] = {"item_id": [f"i{k}" for k in range(n)], "score": scores or [1.0] * n}
    if clusters is not None:
        columns["cluster"] = clusters
    return ModelSamples("m", {"t": task_samples("t", "acc", columns)})


def paired(a: list[Any] | None, b: list[Any] | None, n: int) -> PairedTask:
    return pair(side(a, n=n), side(b, n=n)).tasks[0]


@pytest.mark.parametrize("blank", BLANKS)
def test_sixty_losses_with_blank_clusters_fail(blank: Any) -> None:
    blanks = [blank] * 60
    task = pair(side(blanks), side(blanks, [0.0] * 60)).tasks[0]
    assert task.clusters is None
    decision = decide([task], DecisionSettings())
    assert (decision.verdict, decision.p_value) == ("FAIL", pytest.approx(2.0**-60))


def test_blank_items_stand_alone_beside_named_clusters() -> None:
    task = paired(["a", "", "a", None, " b ", "b"], None, 6)
    assert task.clusters is not None
    assert len(np.unique(task.clusters)) == 4
    assert task.clusters[0] == task.clusters[2] != task.clusters[4] == task.clusters[5]


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet", "parquet numbers", "jsonl numbers"])
def test_blank_cells_stand_alone_in_every_tabular_format(form: str, tmp_path: Path) -> None:
    for name, score in ("a", 1), ("b", 0):
        rows: list[dict[str, Any]] = [
            {"task": "t", "item_id": f"i{n}", "output": "x", "target": "x", "correct": score, "cluster": None}
            for n in range(60)
        ]
        path = tmp_path / f"{name}.{form.split()[0]}"
        if form in ("csv", "tsv"):
            delimiter = "," if form == "csv" else "\t"
            lines = [delimiter.join(rows[0])]
            lines += [delimiter.join("" if v is None else str(v) for v in row.values()) for row in rows]
            path.write_text("\n".join(lines) + "\n")
            continue
        if form.endswith("numbers"):
            for row in rows:
                row["cluster"] = float("nan")
        if form.startswith("jsonl"):
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            pq.write_table(pa.Table.from_pylist(rows), path)
    files = [tmp_path / f"{name}.{form.split()[0]}" for name in "ab"]
    task = pair(*map(read_foreign, files)).tasks[0]
    assert (task.clusters, task.regressions) == (None, 60)


def test_numbered_clusters_with_gaps_in_pandas_files_pair_with_text(tmp_path: Path) -> None:
    """pandas writes a column of integers with a gap as floats: 1.0 and NaN."""
    for name, values in ("a", pa.array([1.0, 1.0, float("nan"), 2.0])), ("b", pa.array(["1", "1", "", "2"])):
        table = pa.table(
            {
                "task": ["t"] * 4,
                "item_id": ["w", "x", "y", "z"],
                "output": ["x"] * 4,
                "target": ["x"] * 4,
                "correct": [1] * 4,
                "cluster": values,
            }
        )
        pq.write_table(table, tmp_path / f"{name}.parquet")
    task = pair(*(read_foreign(tmp_path / f"{name}.parquet") for name in "ab")).tasks[0]
    assert task.clusters is not None
    assert len(np.unique(task.clusters)) == 3


def test_clusters_that_only_one_side_has_count() -> None:
    named = ["p", "p", "q", "q"]
    for a, b in ((named, None), (None, named), (["p", "p", "", ""], ["", None, "q", "q"])):
        task = paired(a, b, 4)
        assert task.clusters is not None
        assert task.clusters.tolist() == [0, 0, 1, 1]


def test_a_conflict_between_the_sides_is_refused_with_the_name_of_an_item() -> None:
    with pytest.raises(SampleError) as caught:
        paired(["p", "p", "q"], ["p", "r", "q"], 3)
    message = str(caught.value)
    assert (
        "1 of 3 items are in different clusters: item i1 is in 'p' in the baseline and in 'r' in the candidate"
        in message
    )
