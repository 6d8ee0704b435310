"""kill -9 of the gate and of its server at random moments: no process stays behind, and the same command resumes."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.started import processes_with, wait_for
from support.tiny import TINY_TASK, edit_gate_yml, write_tiny_project

from gate.cli.main import main

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc"),
]

SERVER = Path(__file__).parents[1] / "support" / "instant_server.py"
ROUNDS = 20


def start_run(folder: Path) -> int:
    """Run `gate run` in a fork of this process, which has the packages loaded; return its process id."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.chdir(folder)
            log = os.open(folder / "run.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            main(["run"])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        finally:
            os._exit(code)
    return child


def end_of(run: int) -> int:
    """Wait for a run; return its exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(run, 0)[1])


def result(folder: Path) -> list[dict[str, Any]]:
    """Return the tasks of the result."""
    tasks: list[dict[str, Any]] = json.loads((folder / "gate-result.json").read_text(encoding="utf-8"))["tasks"]
    return tasks


def write(folder: Path, models: tuple[Path, Path]) -> Path:
    folder.mkdir()
    write_tiny_project(folder, *models)
    command = [sys.executable, str(SERVER), "{model}", "{name}", "{host}", "{port}", "--delay=0.02"]
    engine = {"kind": "served", "command": command, "concurrency": 2}
    edit_gate_yml(folder, engine=engine, tasks=[TINY_TASK, {**TINY_TASK, "name": "again"}])
    return folder


@pytest.mark.parametrize("victim", ["gate", "server"])
def test_kills_at_random_moments(victim: str, tmp_path: Path, weights: Path, other_weights: Path, mark: str) -> None:
    models = weights, other_weights
    whole = write(tmp_path / "whole", models)
    assert end_of(start_run(whole)) in (0, 1, 3), (whole / "run.log").read_text()  # loads what is loaded once
    began = time.monotonic()
    again = write(tmp_path / "again", models)
    end_of(start_run(again))
    seconds = time.monotonic() - began
    expected = result(whole)
    generator = random.Random(7)
    outcomes: dict[str, int] = {}
    for number in range(ROUNDS):
        folder = write(tmp_path / f"{victim}-{number}", models)
        run = start_run(folder)
        time.sleep(generator.uniform(0, seconds))
        if victim == "gate":
            os.kill(run, signal.SIGKILL)
        else:
            servers = [each for each in processes_with(mark) if _program(each) == SERVER.name]
            for server in servers:
                os.kill(server, signal.SIGKILL)
        code = end_of(run)
        wait_for(lambda: processes_with(mark) == [], 30)
        if victim == "server":
            # it is started once more; a server that dies while it starts ends the run
            assert code in (0, 1, 3, 4), (folder / "run.log").read_text()
        outcome = f"exit code {code}" if code >= 0 else f"signal {-code}"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        assert end_of(start_run(folder)) in (0, 1, 3), (folder / "run.log").read_text()
        assert result(folder) == expected
        assert processes_with(mark) == []
    print(f"\n{victim}: {ROUNDS} of {ROUNDS} resumed, an uninterrupted run takes {seconds:.1f} s; {outcomes}")


def _program(process: int) -> str:
    """Return the name of the script that a process runs; the supervisor's is its own."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    scripts = [Path(os.fsdecode(word)).name for word in words if word.endswith(b".py")]
    return scripts[0] if scripts else ""
