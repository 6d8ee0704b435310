"""Task files: the same documents in every format, and errors that name file and line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.jsonl import write_jsonl

from gate.common.canonical import canonical_json, digest, text_digest
from gate.config import SampleSettings, TaskSettings
from gate.errors import ExitCode, TaskError
from gate.tasks import build_task
from gate.tasks.documents import read_documents

ROWS: list[dict[str, Any]] = [
    {"question": 'Größe, of a "cat"?', "gold": "0", "note": "two\nlines"},
    {"question": "What is 日本?", "gold": "1", "note": " "},
    {"question": "", "gold": "2", "note": "x,y"},
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix in (".jsonl", ".ndjson"):
        write_jsonl(path, rows)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def refusal(path: Path) -> TaskError:
    values = {"name": "faq", "file": path.name, "kind": "generate_until", "prompt": "Q", "answer": "A"}
    with pytest.raises(TaskError) as caught:
        build_task(TaskSettings.model_validate(values), SampleSettings(), path.parent)
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.message.startswith("task faq: ")
    return caught.value


@pytest.mark.parametrize("ending", [".ndjson", ".csv", ".parquet", ".JSONL"])
def test_every_format_gives_the_same_documents(tmp_path: Path, ending: str) -> None:
    from_jsonl = read_documents(write(tmp_path / "a.jsonl", ROWS))
    path = tmp_path / f"b{ending}"
    write(path, ROWS) if ending != ".JSONL" else path.write_bytes((tmp_path / "a.jsonl").read_bytes())
    documents = read_documents(path)
    assert [dict(document.fields) for document in documents] == ROWS
    assert [document.item_id for document in documents] == [document.item_id for document in from_jsonl]


def test_lists_and_numbers_have_the_same_item_id_in_jsonl_and_parquet(tmp_path: Path) -> None:
    rows = [{"q": "a", "options": ["x", "y"], "gold": 1, "p": 0.5, "deep": {"b": [1], "a": None}}]
    ids = {read_documents(write(tmp_path / name, rows))[0].item_id for name in ("a.jsonl", "a.parquet")}
    assert len(ids) == 1


def test_a_byte_order_mark_is_not_part_of_the_first_field(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv"):
        path = write(tmp_path / name, ROWS)
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert list(read_documents(path)[0].fields) == ["question", "gold", "note"]


def test_blank_lines_are_skipped_but_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('\n{"a": 1}\n  \n{"a": 2}', encoding="utf-8")
    assert [(document.line, document.fields["a"]) for document in read_documents(path)] == [
        (2, 1),
        (4, 2),
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "a.jsonl:2: not valid JSON: Expecting value at column 6"),
        ("a.jsonl", b'{"a": 1}\n\n[1]\n', "a.jsonl:3: expected a JSON object, found a list"),
        ("a.jsonl", b'{"a": 1} {"a": 2}\n', "a.jsonl:1: not valid JSON: Extra data"),
        ("a.jsonl", b'{"a": "\xff"}\n', "a.jsonl:1: not valid JSON: byte 8 is not UTF-8"),
        ("a.jsonl", b"", "holds no documents"),
        ("a.jsonl", b"\n \n", "holds no documents"),
        ("a.csv", b"", "holds no documents"),
        ("a.csv", b"q,a\n", "holds no documents"),
        ("a.csv", b"q,a\n1,2\n3\n", "a.csv:3: the row does not have the 2 columns"),
        ("a.csv", b"q,a\n1,2\n3,4,5\n", "a.csv:3: the row does not have the 2 columns"),
        ("a.csv", b'q,a\n1,"2\n3,4\n', "a.csv:2: not valid CSV: unexpected end of data"),
        ("a.csv", b"q,a\n\xe9,2\n", "cannot be read: 'utf-8' codec"),
        ("a.parquet", b"", "is not a readable Parquet file"),
        ("a.parquet", b"PAR1 but not really PAR1", "is not a readable Parquet file"),
        ("a.txt", b"hello", "a.txt has the suffix '.txt'"),
        ("a", b"hello", "a has the suffix '(none)'"),
    ],
)  # fmt: skip
def test_the_error_names_file_and_line(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert words in refusal(path).message


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    error = refusal(tmp_path / name)
    assert error.message == f"task faq: the file {tmp_path / name} does not exist."
    assert error.hint == "Check `file:` in gate.yml."


def test_a_folder_is_not_a_task_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").mkdir()
    assert "cannot be read" in refusal(tmp_path / "a.jsonl").message


def test_a_parquet_file_without_rows_holds_no_documents(tmp_path: Path) -> None:
    pq.write_table(pa.table({"q": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert "holds no documents" in refusal(tmp_path / "a.parquet").message


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_parquet_file_is_refused(tmp_path: Path, kept: float) -> None:
    path = write(tmp_path / "a.parquet", ROWS)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert "is not a readable Parquet file" in refusal(path).message


def test_duplicate_documents_are_refused_whatever_their_key_order(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1, "b": 2}\n{"a": 2}\n{"b": 2, "a": 1}\n{"a":2}\n', encoding="utf-8")
    error = refusal(path)
    assert "has 2 duplicate document(s); equal lines: 1 = 3, 2 = 4." in error.message
    assert "an id" in str(error.hint)


def test_many_duplicates_are_counted_and_the_first_five_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' * 9, encoding="utf-8")
    assert "has 8 duplicate document(s); equal lines: 1 = 2, 1 = 3, 1 = 4, 1 = 5, 1 = 6, ...." in str(refusal(path))


@pytest.mark.parametrize(
    "line",
    ['{"question": "\\ud800"}', '{"n": ' + "9" * 5000 + "}", "[" * 100_000 + "]" * 100_000],
    ids=["half a surrogate pair", "a number of 5,000 digits", "100,000 brackets"],
)
def test_a_document_that_cannot_be_stored_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"question": "fine"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(TaskError, match=r"items\.jsonl:2"):
        read_documents(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_digest_does_not_depend_on_key_order(row: dict[str, Any]) -> None:
    assert digest(dict(reversed(row.items()))) == digest(row) == digest(json.loads(json.dumps(row)))


@given(st.dictionaries(st.text(), st.text(), min_size=1, max_size=4), st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_digest_changes_with_any_value(row: dict[str, str], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(row)))
    assert digest({**row, key: row[key] + "x"}) != digest(row)
    assert digest({**row, key: [row[key]]}) != digest(row)


def test_digests_never_change() -> None:
    assert canonical_json({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'
    assert text_digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest({"a": "\ud800"}) != digest({"a": "\ud801"})
