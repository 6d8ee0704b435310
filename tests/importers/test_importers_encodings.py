"""Encodings, delimiters, compression and JSON lists: the same samples in other clothes, or an error with the line."""

from __future__ import annotations

import contextlib
import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.importing import message

from gate.common.compressed import read_bytes
from gate.common.jsonlines import json_lines
from gate.errors import SampleError
from gate.importers import read_foreign

ROWS = [
    {"task": "faq", "item_id": f"q{item}", "output": text, "target": "A", "correct": item % 2}
    for item, text in enumerate(("A", 'a "B"', "c, d; e", "f\ng", "Köln", "A\tB"))
]
NAMES = list(ROWS[0])


def csv_text(delimiter: str = ",") -> str:
    quoted = [['"' + str(row[name]).replace('"', '""') + '"' for name in NAMES] for row in ROWS]
    return "\n".join([delimiter.join(NAMES), *(delimiter.join(row) for row in quoted)]) + "\n"


def outputs(path: Path) -> list[str]:
    values: list[str] = read_foreign(path).tasks["faq"].table["output"].to_pylist()
    return values


def zstd(path: Path, content: bytes) -> None:
    with pa.output_stream(str(path), compression="zstd") as stream:
        stream.write(content)


EXPECTED = [str(row["output"]) for row in ROWS]
LINES = "\n".join(json.dumps(row) for row in ROWS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("name", "prefix", "delimiter"),
    [
        ("m.csv", "", ","),
        ("m.csv", "", ";"),
        ("m.csv", "", "\t"),
        ("m.csv", "", "|"),
        ("m.csv", "sep=,\n", ","),
        ("m.csv", '"sep=;"\r\n', ";"),
        ("m.tsv", "", "\t"),
        ("m.txt", "", "\t"),
    ],
)
def test_tables_of_spreadsheets_are_read(tmp_path: Path, name: str, prefix: str, delimiter: str, encoding: str) -> None:
    path = tmp_path / name
    path.write_bytes((prefix + csv_text(delimiter)).encode(encoding))
    assert outputs(path) == EXPECTED


def test_utf_16_without_a_byte_order_mark_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(csv_text().encode("utf-16-le"))
    assert "it looks like UTF-16 without a byte order mark" in message(path)
    path = tmp_path / "m.jsonl"
    path.write_bytes(LINES.encode("utf-16"))
    assert f"{path} is UTF-16 or UTF-32; expected UTF-8" in message(path)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.csv", csv_text().encode("utf-32"), "is UTF-32"),
        ("a.jsonl", "{}".encode("utf-32"), "is UTF-16 or UTF-32"),
        ("a.jsonl", gzip.compress(b"{}", mtime=0), "is compressed with gzip"),
        ("a.json", b"\x28\xb5\x2f\xfd123", "is compressed with zstd"),
        ("a.csv", b"PK\x03\x04123", "is a ZIP archive, or an Excel workbook"),
        ("a.jsonl", b'{"task": ' + b"9" * 5000 + b"}", "value has 5000 digits."),
    ],
)
def test_what_looks_like_text_and_is_not_is_named(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert complaint in message(tmp_path / name)


@pytest.mark.parametrize("row", [0, 1, 1500, 2999])
def test_the_line_of_a_byte_that_is_not_utf_8_is_named(tmp_path: Path, row: int) -> None:
    lines = [f"faq,q{item},{'Köln' if item == row else 'A'},A,1" for item in range(3000)]
    path = tmp_path / "m.csv"
    path.write_bytes("\n".join([",".join(NAMES), *lines]).encode("cp1252"))
    assert f"{path}:{row + 2} is not UTF-8 (byte 0xf6)" in message(path)


def test_text_that_is_not_utf_8_is_refused_in_json_lines_and_parquet(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes("\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode("cp1252"))
    assert f"{path}:5 is not UTF-8" in message(path)
    values = pa.array([str(row["output"]).encode("cp1252") for row in ROWS], pa.binary())
    text = pa.StringArray.from_buffers(len(values), *values.buffers()[1:])
    path = tmp_path / "m.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS).set_column(2, "output", text), path)
    assert "column output is not valid in row 5" in message(path)


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.json"])
@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_compressed_files_are_read_and_cut_ones_refused(tmp_path: Path, name: str, ending: str) -> None:
    content = csv_text() if name == "m.csv" else LINES if name == "m.jsonl" else json.dumps(ROWS)
    path = tmp_path / f"{name}{ending}"
    if ending == ".gz":
        path.write_bytes(gzip.compress(content.encode()))
    else:
        zstd(path, content.encode())
    samples = read_foreign(path)
    assert samples.label == "m"
    assert samples.tasks["faq"].table["output"].to_pylist() == EXPECTED
    path.write_bytes(path.read_bytes()[:-9])
    assert "cannot be decompressed" in message(path)
    path.write_bytes(b"not compressed")
    assert "cannot be decompressed" in message(path)


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate.common.compressed.LIMIT", 1 << 20)
    path = tmp_path / "m.jsonl.gz"
    path.write_bytes(gzip.compress(LINES.encode() + b"\n" * (4 << 20)))
    assert "unpacks to more than" in message(path)


@pytest.mark.parametrize("name", ["m.jsonl", "m.jsonl.gz"])
def test_reading_takes_the_memory_of_the_file_and_not_of_the_limit(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(LINES.encode()) if path.suffix == ".gz" else LINES.encode())
    tracemalloc.start()
    read_bytes(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["m.json", "m.jsonl"])
def test_a_json_list_of_records_is_read(tmp_path: Path, name: str, indent: int | None) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(ROWS, indent=indent), encoding="utf-8")
    assert outputs(path) == EXPECTED
    assert list(read_foreign(tmp_path).tasks) == ["faq"]


def test_json_lines_in_a_json_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(LINES, encoding="utf-8")
    assert outputs(path) == EXPECTED


def test_a_cut_json_list_names_the_line_of_the_broken_record(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(ROWS, indent=1)[:-40], encoding="utf-8")
    assert f"{path}:37: not valid JSON" in message(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(st.dictionaries(st.text(max_size=4), json_values, max_size=3), max_size=4),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
)
def test_a_json_list_gives_its_records_and_where_they_begin(
    tmp_path: Path, rows: list[dict[str, Any]], indent: int | None, ascii_only: bool
) -> None:
    path = tmp_path / "m.json"
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    path.write_text(text, encoding="utf-8")
    read = list(json_lines(path))
    assert [row for _, row in read] == rows
    if indent is not None:
        assert all(text.split("\n")[line - 1].lstrip().startswith("{") for line, _ in read)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("m.csv", "m.jsonl", "m.json", "samples_t.jsonl", "m.parquet", "m.jsonl.gz", "m.csv.zst"):
        path = tmp_path / name
        path.write_bytes(content)
        with contextlib.suppress(SampleError):
            read_foreign(path)


@pytest.mark.parametrize("column", ["score", "repeat", "output", "target", "item_id", "cluster"])
@pytest.mark.parametrize("value", [{"acc": 1.0}, [1.0]])
def test_nested_columns_of_parquet_are_refused_with_their_type(tmp_path: Path, column: str, value: Any) -> None:
    rows = [{key: cell for key, cell in row.items() if key != "correct"} | {"score": 1.0} for row in ROWS]
    path = tmp_path / "m.parquet"
    pq.write_table(pa.Table.from_pylist([{**row, column: value} for row in rows]), path)
    text = message(path)
    assert f"column {column} has the type {'struct' if isinstance(value, dict) else 'list'}<" in text


def test_chat_messages_in_a_prompt_column_of_parquet_are_read(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(pa.Table.from_pylist([{**row, "prompt": [{"role": "user", "content": "Hi"}]} for row in ROWS]), path)
    assert read_foreign(path).tasks["faq"].table["prompt"][0].as_py() == '[{"content":"Hi","role":"user"}]'


def test_hive_partitions_name_the_task_and_the_metric(tmp_path: Path) -> None:
    for task in ("faq", "se%20arch"):
        folder = tmp_path / f"task={task}" / "split=test"
        folder.mkdir(parents=True)
        table = pa.Table.from_pylist([{key: value for key, value in row.items() if key != "task"} for row in ROWS])
        pq.write_table(table, folder / "part-0.parquet")
    samples = read_foreign(tmp_path)
    assert {name: task.table.num_rows for name, task in samples.tasks.items()} == {"faq": 6, "se arch": 6}


def test_two_tables_with_the_same_items_look_like_two_models(tmp_path: Path) -> None:
    for name in ("fp16.csv", "int8.csv"):
        (tmp_path / name).write_text(csv_text(), encoding="utf-8")
    text = message(tmp_path)
    assert "fp16.csv and int8.csv both have 6 of the same items, e.g. faq/q0" in text


def test_a_table_without_tasks_and_items_is_left_out_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_text(csv_text(), encoding="utf-8")
    (tmp_path / "speed.csv").write_text("gpu,seconds\nH100,3\n", encoding="utf-8")
    samples = read_foreign(tmp_path)
    assert list(samples.tasks) == ["faq"]
    assert samples.left_out == ("speed.csv: has neither the column task nor item_id.",)
    assert "missing columns" in message(tmp_path / "speed.csv")


def test_only_the_tasks_that_are_asked_for_are_read(tmp_path: Path) -> None:
    broken = [{**row, "task": "broken", "correct": None} for row in ROWS]
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in [*ROWS, *broken]), encoding="utf-8")
    assert "have no score" in message(path)
    samples = read_foreign(path, tasks=["faq"])
    assert (list(samples.tasks), samples.unread) == (["faq"], ("broken",))
    assert read_foreign(path, tasks=["other"]).unread == ("broken", "faq")
