"""Parquet files that expand beyond the limit are refused before memory is taken; honest ones read as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.parquet_bombs import repeated_text, write_bomb

import gate.common.parquet
from gate.app.samples import load_samples
from gate.common.parquet import TooLargeError, read_parquet
from gate.errors import SampleError, TaskError
from gate.tasks.documents import read_documents


def test_repeated_long_text_is_refused(tmp_path: Path) -> None:
    path = write_bomb(tmp_path / "b.parquet")
    assert path.stat().st_size < 20_000
    with pytest.raises(TooLargeError, match="more than 4 GiB"):
        read_parquet(path)
    with pytest.raises(SampleError, match=r"b\.parquet: its rows take more than 4 GiB"):
        load_samples(path)


def test_task_file_that_expands_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"question": repeated_text(2_000, 10)}), path, compression="zstd")
    with pytest.raises(TaskError, match="its rows take more than 4 GiB"):
        read_documents(path)


def test_run_of_a_billion_numbers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is lowered, so that the test itself needs little memory."""
    monkeypatch.setattr(gate.common.parquet, "LIMIT", 1 << 20)
    path = tmp_path / "runs.parquet"
    pq.write_table(pa.table({"score": np.zeros(1_000_000)}), path, compression="zstd")
    with pytest.raises(TooLargeError):
        read_parquet(path)


def test_compressed_text_is_refused_by_its_uncompressed_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate.common.parquet, "LIMIT", 1 << 20)
    path = tmp_path / "zeros.parquet"
    texts = [f"{number}{'x' * 1_000}" for number in range(2_000)]
    pq.write_table(pa.table({"output": texts}), path, compression="zstd", use_dictionary=False)
    with pytest.raises(TooLargeError):
        read_parquet(path)


@pytest.mark.parametrize("rows", [1, 300_000])
def test_honest_file_keeps_its_rows_and_types(tmp_path: Path, rows: int) -> None:
    table = pa.table(
        {
            "item_id": [f"item {number}" for number in range(rows)],
            "output": ["yes" if number % 3 else None for number in range(rows)],
            "large": pa.array(["a"] * rows, pa.large_string()),
            "logprobs": [[-0.1, -2.0]] * rows,
        }
    )
    path = tmp_path / "honest.parquet"
    pq.write_table(table, path)
    assert read_parquet(path).equals(table)
    assert read_parquet(path, ["output"]).equals(table.select(["output"]))
