"""One writer of a set at a time; the lock of a dead process blocks nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.evaluations import Opened, choice_task, evaluate

from gate.errors import EvaluationError
from gate.store.lock import one_writer

_HOLDER = """
import sys
from pathlib import Path
from gate.store.lock import one_writer
with one_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that holds the lock of a set until its standard input closes or it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_refused_with_the_holders_process_and_host(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    process = holder(tmp_path / "set")
    try:
        with pytest.raises(EvaluationError) as caught:
            evaluate(task, tiny, tmp_path / "set")
        message = str(caught.value)
        assert f"process {process.pid} on {os.uname().nodename} (since 20" in message
        assert str(tmp_path / "set") in message
        assert "Wait until it has finished, or stop it" in message
        assert not (tmp_path / "set").exists()
        evaluate(task, tiny, tmp_path / "other")  # another set is not locked
    finally:
        process.kill()
        process.wait()
    messages: list[str] = []
    evaluate(task, tiny, tmp_path / "set", message=messages.append)
    assert messages == []


def test_two_writers_in_one_process_exclude_each_other(tmp_path: Path) -> None:
    with (
        one_writer(tmp_path / "set"),
        pytest.raises(EvaluationError, match=f"process {os.getpid()}"),
        one_writer(tmp_path / "set"),
    ):
        raise AssertionError("both write")
    with one_writer(tmp_path / "set"):
        assert (tmp_path / ".set.holder").exists()
    assert not (tmp_path / ".set.holder").exists()


def test_an_entry_of_another_machine_is_reported(tmp_path: Path) -> None:
    """Some network file systems do not support locks; then only the entry shows the other writer."""
    entry = {"pid": 7, "host": "node12", "since": "2026-01-01T00:00:00+00:00"}
    (tmp_path / ".set.holder").write_text(json.dumps(entry))
    messages: list[str] = []
    with one_writer(tmp_path / "set", messages.append):
        assert json.loads((tmp_path / ".set.holder").read_text())["pid"] == os.getpid()
    (line,) = messages
    assert "process 7 on node12 (since 2026-01-01" in line


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", "\x00"])
def test_an_unreadable_entry_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / ".set.holder").write_text(text)
    with one_writer(tmp_path / "set"):
        pass
