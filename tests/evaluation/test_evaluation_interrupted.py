"""A run interrupted by Ctrl-C or a full disk keeps everything that was complete."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.commands import run_gate
from support.tiny import TINY_TASK, write_gate_yml, write_tiny_task

from gate.store import open_set

ENVIRONMENT = {**os.environ, "PYTHONUNBUFFERED": "1"}


def in_progress(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*.*") if path.suffix in (".tmp", ".old")]


def project(folder: Path, model: Path, *sizes: int) -> Path:
    """Write a gate.yml with one task per size: task0, task1, ..."""
    tasks = []
    for number, size in enumerate(sizes):
        write_tiny_task(folder / f"items{number}.jsonl", size)
        tasks.append({**TINY_TASK, "name": f"task{number}", "file": f"items{number}.jsonl"})
    return write_gate_yml(folder, str(model), str(model), tasks=tasks)


def test_ctrl_c_exits_with_130_and_keeps_the_finished_tasks(tmp_path: Path, tiny_model: Path) -> None:
    """The second task would take many seconds; SIGINT is sent when the first one is reported as finished."""
    config = project(tmp_path, tiny_model, 4, 6_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "gate", "run", "--config", str(config)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=ENVIRONMENT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("  task0: 4 items"):
                process.send_signal(signal.SIGINT)
                break
        lines += process.stderr.readlines()
        code = process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert code == 130, "".join(lines)
    assert "interrupted" in lines[-1]
    assert not any("Traceback" in line for line in lines)
    (kept,) = (path.parent for path in (tmp_path / ".gate").rglob("manifest.json"))
    assert open_set(kept).manifest.task == "task0"
    assert open_set(kept).read().table.num_rows == 4
    assert in_progress(tmp_path) == []
    assert not (tmp_path / "gate-result.json").exists()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a number of bytes. Python ignores the signal SIGXFSZ."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_exits_with_4_and_keeps_the_older_samples(tmp_path: Path, tiny_model: Path) -> None:
    """A limit on the process's file size simulates the full disk."""
    config = project(tmp_path, tiny_model, 8)
    assert run_gate("baseline", "--quiet", "--config", config).code == 0
    (folder,) = (path.parent for path in (tmp_path / ".gate").rglob("manifest.json"))
    before = {path: path.read_bytes() for path in (tmp_path / ".gate").rglob("*") if path.is_file()}
    with largest_file(2000):
        code, _, err = run_gate("baseline", "--force", "--config", config)
    assert code == 4, err
    assert "no space left" in err
    assert str(folder.parent) in err
    assert "Traceback" not in err
    assert {path: path.read_bytes() for path in before} == before
    assert in_progress(tmp_path) == []
    assert json.loads((folder / "manifest.json").read_text())["rows"] == open_set(folder).read().table.num_rows
