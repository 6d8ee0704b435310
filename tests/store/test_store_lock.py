"""Locks: who holds one, and file systems without flock."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.exhaustive import mostly_exhaustive

import gate.store.lock
from gate.common.files import write_text
from gate.errors import EvaluationError
from gate.store.lock import hold

_HOLD = """
import sys, time
from pathlib import Path
from gate.store.lock import hold
with hold(Path(sys.argv[1]), "the set is being written"):
    print("held", flush=True)
    time.sleep(60)
"""
_FLOCK = """
#include <errno.h>
#include <stdlib.h>
int flock(int file, int operation) { errno = atoi(getenv("FLOCK_ERRNO")); return -1; }
"""


@pytest.fixture(scope="module")
def without_flock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that makes flock fail with the error number in FLOCK_ERRNO, as FUSE and Lustre do."""
    folder = tmp_path_factory.mktemp("flock")
    (folder / "flock.c").write_text(_FLOCK)
    built = subprocess.run(["cc", "-shared", "-fPIC", "-o", "flock.so", "flock.c"], cwd=folder, check=False)
    if built.returncode:
        pytest.skip("no C compiler")
    return folder / "flock.so"


def start_holder(path: Path, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("name", mostly_exhaustive(["ENOLCK", "ENOSYS", "EOPNOTSUPP"], ["ENOSYS"]))
def test_lock_without_flock_excludes_and_is_released_by_a_kill(tmp_path: Path, without_flock: Path, name: str) -> None:
    environment = {**os.environ, "LD_PRELOAD": str(without_flock), "FLOCK_ERRNO": str(getattr(errno, name))}
    path = tmp_path / ".set.lock"
    first = start_holder(path, environment)
    second = subprocess.run(
        [sys.executable, "-c", _HOLD, str(path)], env=environment, capture_output=True, text=True, check=False
    )
    assert second.returncode != 0
    assert f"the set is being written by process {first.pid}" in second.stderr
    first.kill()
    first.wait()
    third = start_holder(path, environment)
    third.kill()
    third.wait()


def test_stopped_holder_is_named_while_another_process_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate.store.lock, "_SILENT", 0.2)
    holder = start_holder(tmp_path / "history.jsonl.lock")
    holder.send_signal(signal.SIGSTOP)
    try:
        with (
            caplog.at_level(logging.WARNING),
            pytest.raises(EvaluationError, match=f"the history is in use by process {holder.pid}"),
            hold(tmp_path / "history.jsonl.lock", "the history is in use", wait=0.5),
        ):
            raise AssertionError("both hold the lock")
    finally:
        holder.kill()
        holder.wait()
    assert f"in use by process {holder.pid}" in caplog.text


def test_files_replace_symbolic_links(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "report.md").symlink_to(victim)
    (tmp_path / ".fixed.tmp").symlink_to(victim)
    write_text(tmp_path / "report.md", "report", temporary=tmp_path / ".fixed.tmp")
    assert (tmp_path / "report.md").read_text() == "report"
    assert not (tmp_path / "report.md").is_symlink()
    assert victim.read_text() == "precious"


def test_devices_and_streams_are_written_to_and_stay_what_they_are() -> None:
    """As root, a report at /dev/stdout or /dev/null would otherwise replace the device."""
    reader, writer = os.pipe()
    write_text(Path(f"/dev/fd/{writer}"), "report")
    assert os.read(reader, 100) == b"report"
    controller, terminal = os.openpty()  # a character device; no file can take its place if the test fails
    name = Path(os.ttyname(terminal))
    write_text(name, "report")
    assert os.read(controller, 100) == b"report"
    assert name.is_char_device()
    for descriptor in (reader, writer, controller, terminal):
        os.close(descriptor)
