"""Paths that are no plain files, and reports that would replace what is read: an error before anything is done."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import run_gate
from support.tiny import write_gate_yml, write_tiny_task

ROWS = "task,item_id,output,target,correct\n" + "".join(f"faq,{item},x,x,1\n" for item in range(40))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with base.csv and cand.csv."""
    monkeypatch.chdir(tmp_path)
    for name in ("base.csv", "cand.csv"):
        (tmp_path / name).write_text(ROWS, encoding="utf-8")
    return tmp_path


def bind(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)


@pytest.mark.parametrize(
    "make", [os.mkfifo, bind, lambda path: Path(path).symlink_to("/dev/zero")], ids=["pipe", "socket", "device"]
)
def test_what_is_no_regular_file_is_refused_at_once(files: Path, make: Callable[[str], None]) -> None:
    make("odd.csv")
    result = run_gate("compare", "base.csv", "odd.csv")
    assert result.code == 2
    assert "odd.csv is not a regular file" in result.err
    make("odd.yml")
    result = run_gate("compare", "base.csv", "cand.csv", "--config", "odd.yml")
    assert result.code == 2
    assert "odd.yml is not a regular file" in result.err


def test_a_large_gate_yml_is_refused_before_it_is_parsed(files: Path) -> None:
    (files / "gate.yml").write_text("# " + "x" * (5 << 20), encoding="utf-8")
    result = run_gate("compare", "base.csv", "cand.csv", "--config", "gate.yml")
    assert result.code == 2
    assert "gate.yml has more than 4 MiB" in result.err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--json", "base.csv"], "--json: the report would replace base.csv, which is read"),
        (["--html", "./x/../cand.csv"], "--html: the report would replace cand.csv, which is read"),
        (["--markdown", "link.csv"], "--markdown: the report would replace base.csv, which is read"),
        (["--json", "r", "--junit", "./r"], "--json and --junit name the same file, r"),
    ],
)
def test_a_report_replaces_nothing_that_is_read(files: Path, options: list[str], complaint: str) -> None:
    (files / "link.csv").symlink_to("base.csv")
    (files / "x").mkdir()
    result = run_gate("compare", "base.csv", "cand.csv", *options)
    assert result.code == 2
    assert complaint in result.err
    assert (files / "base.csv").read_text(encoding="utf-8") == ROWS


@pytest.mark.parametrize(
    ("report", "complaint"),
    [
        ({"json": "gate.yml"}, "report.json: the report would replace gate.yml, which is read"),
        ({"html": "items.jsonl"}, "report.html: the report would replace items.jsonl, which is read"),
        ({"json": "gate-report.md"}, "report.markdown and report.json name the same file"),
    ],
)
def test_a_report_of_a_run_replaces_nothing_that_is_read(files: Path, report: dict[str, str], complaint: str) -> None:
    write_tiny_task(files / "items.jsonl", 6)
    write_gate_yml(files, "base", "cand", report=report)
    result = run_gate("run")
    assert result.code == 2
    assert complaint in result.err


def test_exchanged_columns_are_refused_before_thousands_of_tasks_are_tested(files: Path) -> None:
    rows = "".join(f"{item},faq,x,x,1\n" for item in range(2_001))
    for name in ("base.csv", "cand.csv"):
        (files / name).write_text(ROWS.splitlines()[0] + "\n" + rows, encoding="utf-8")
    result = run_gate("compare", "base.csv", "cand.csv")
    assert result.code == 2
    assert "base.csv holds 2,001 tasks, e.g. 0, 1, 2; at most 2,000 can be compared" in result.err
    (files / "base.csv").write_text(ROWS.replace("faq", "q" * 600), encoding="utf-8")
    assert "the name of a task has 600 characters" in run_gate("compare", "base.csv", "cand.csv").err
