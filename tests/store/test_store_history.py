"""The history in a folder: append-only, and refused when it is damaged."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import run_python

from gate.errors import EvaluationError, SampleError
from gate.store import Store
from gate.store.history import LocalHistory, Record, RecordedEvidence, open_history


def record(p_value: float, series: str = "nightly") -> Record:
    return Record(
        time="2026-01-01T00:00:00+00:00",
        series=series,
        verdict="PASS",
        p_value=p_value,
        alpha=0.01,
        drop=0.0,
        flip_rate=0.02,
        baseline="b",
        candidate="c",
    )


def write_history(root: Path, *records: Record) -> LocalHistory:
    history = LocalHistory(root)
    for entry in records:
        history.append(entry)
    return history


def test_records_keep_their_order_and_series_are_separate(tmp_path: Path) -> None:
    history = write_history(tmp_path, record(0.1), record(0.2, "weekly"), record(0.3))
    assert [entry.p_value for entry in history.read()] == [0.1, 0.2, 0.3]
    assert [entry.p_value for entry in history.read("nightly")] == [0.1, 0.3]


def test_an_absent_history_is_empty(tmp_path: Path) -> None:
    assert LocalHistory(tmp_path / "absent").read() == []


def test_a_damaged_history_is_refused_with_its_line(tmp_path: Path) -> None:
    history = write_history(tmp_path, record(0.1))
    with (tmp_path / "history.jsonl").open("a", encoding="utf-8") as handle:
        handle.write("{broken\n")
    with pytest.raises(SampleError, match=r"history\.jsonl:2"):
        history.read()


def test_a_history_that_an_editor_saved_is_read(tmp_path: Path) -> None:
    history = write_history(tmp_path, record(0.1), record(0.2))
    path = tmp_path / "history.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert [entry.p_value for entry in history.read()] == [0.1, 0.2]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_history_that_is_no_file_is_refused_before_anything_is_evaluated(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "history.jsonl")
    with pytest.raises(SampleError, match="not a regular file"):
        LocalHistory(tmp_path).read()


@pytest.mark.parametrize("field", ["drop", "flip_rate", "p_value", "log_e_value"])
@pytest.mark.parametrize("number", ["NaN", "Infinity"])
def test_numbers_of_a_record_are_finite(tmp_path: Path, field: str, number: str) -> None:
    evidence = RecordedEvidence(log_e_value=0.5, planned_runs=365, items=["a"])
    history = write_history(tmp_path, record(0.1).model_copy(update={"evidence": evidence}))
    path = tmp_path / "history.jsonl"
    path.write_text(re.sub(f'"{field}": [0-9.]+', f'"{field}": {number}', path.read_text()), encoding="utf-8")
    with pytest.raises(SampleError, match=r"history\.jsonl:1 is not a record of a run"):
        history.read()


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    history = write_history(tmp_path, record(0.1))
    size = (tmp_path / "history.jsonl").stat().st_size
    code = (
        "import resource, signal, sys; from pathlib import Path; from gate.store.history import LocalHistory\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 50}, {size + 50}))\n"
        "history = LocalHistory(Path(sys.argv[1])); history.append(history.read()[0])\n"
    )
    assert "no space left" in run_python(code, tmp_path).err
    assert [entry.p_value for entry in history.read()] == [0.1]


def test_a_local_store_keeps_its_history_in_a_file(tmp_path: Path) -> None:
    history = open_history(Store(tmp_path))
    with history.lock():
        history.append(record(0.5), after=0)
    assert [entry.p_value for entry in history.read("nightly")] == [0.5]
    assert (tmp_path / "history.jsonl").is_file()


def test_a_history_without_its_last_line_break_is_continued_on_a_new_line(tmp_path: Path) -> None:
    history = write_history(tmp_path, record(0.1))
    path = tmp_path / "history.jsonl"
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    history.append(record(0.2))
    assert [entry.p_value for entry in history.read()] == [0.1, 0.2]


def test_a_history_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(SampleError, match=r"history\.jsonl is not UTF-8 text"):
        LocalHistory(tmp_path).read()


def test_a_history_that_is_a_symbolic_link_is_not_appended_to(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "history.jsonl").symlink_to(victim)
    with pytest.raises(EvaluationError, match=r"history\.jsonl cannot be written"):
        LocalHistory(tmp_path).append(record(0.1))
    assert victim.read_text() == "precious"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_STORE_KEY", "k" * 32)


@pytest.mark.usefixtures("key")
def test_signed_history_is_read_and_continued(tmp_path: Path) -> None:
    history = write_history(tmp_path, record(0.1), record(0.2, "weekly"), record(0.3))
    assert [entry.p_value for entry in history.read("nightly")] == [0.1, 0.3]
    assert [entry.p_value for entry in history.read()] == [0.1, 0.2, 0.3]


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("change", ["invented", "altered", "removed", "repeated", "swapped", "unsigned"])
def test_changed_history_is_refused_with_a_key(tmp_path: Path, change: str) -> None:
    history = write_history(tmp_path, record(0.1), record(0.2), record(0.3))
    path = tmp_path / "history.jsonl"
    lines = path.read_text().splitlines()
    changed = {
        "invented": [*lines, lines[0].replace("0.1", "1.0")],
        "altered": [lines[0].replace("0.1", "0.9"), *lines[1:]],
        "removed": [lines[0], lines[2]],
        "repeated": [*lines, lines[2]],
        "swapped": [lines[1], lines[0], lines[2]],
        "unsigned": [*lines, record(0.4).model_dump_json(exclude_none=True)],
    }
    path.write_text("\n".join(changed[change]) + "\n")
    with pytest.raises(SampleError, match="is not signed with the key in GATE_STORE_KEY"):
        history.read("nightly")
