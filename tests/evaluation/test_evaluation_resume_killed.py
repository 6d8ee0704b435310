"""After several `kill -9` at random moments, the set equals that of an uninterrupted evaluation byte for byte."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.evaluations import content
from support.tiny import write_tiny_task

from gate.store import open_set

ITEMS_PER_KILL = 30
ITEMS_PER_DATA_FILE = 8

# the model is loaded once; each line on standard input forks a process that evaluates until it is killed or done
_EVALUATE = """
import os, sys
from pathlib import Path
import gate.evaluation.plan
from support.evaluations import choice_task_of, evaluate, opened
gate.evaluation.plan.ITEMS_PER_DATA_FILE = int(sys.argv[2])
project = Path(sys.argv[1])
task, model = choice_task_of(project), opened(project / "model")
def report(line):
    os.write(1, f"{line}\\n".encode())
for name in sys.stdin:
    child = os.fork()
    if child == 0:
        report(f"pid {os.getpid()}")
        evaluate(task, model, project / name.strip(), report, message=report)
        os._exit(0)
    report(f"ended {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")
"""


class Evaluations:
    """Starts evaluations of the project's items, and kills them."""

    def __init__(self, project: Path) -> None:
        arguments = [str(project), str(ITEMS_PER_DATA_FILE)]
        self.parent = subprocess.Popen(
            [sys.executable, "-c", _EVALUATE, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            # a process that forks must not have used the threads of tokenizers: they do not exist in the child
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "TOKENIZERS_PARALLELISM": "false"},
        )

    def run(self, name: str, kill: tuple[int, float] | None = None) -> tuple[int, list[int], list[str]]:
        """Return the exit status, the reports of progress, and the messages.

        `kill` is the number of lines, and then of seconds, after which the process is killed.
        """
        assert self.parent.stdin is not None
        assert self.parent.stdout is not None
        self.parent.stdin.write(f"{name}\n")
        pid = int(self.parent.stdout.readline().removeprefix("pid "))
        lines: list[str] = []
        while not lines or not lines[-1].startswith("ended "):
            if kill is not None and len(lines) == kill[0]:
                threading.Timer(kill[1], os.kill, (pid, signal.SIGKILL)).start()
            lines.append(self.parent.stdout.readline().rstrip())
            assert lines[-1], "the parent is gone"
        status = int(lines.pop().removeprefix("ended "))
        return (
            status,
            [int(line) for line in lines if line.isdecimal()],
            [line for line in lines if not line.isdecimal()],
        )


@pytest.fixture
def evaluations(tmp_path: Path, tiny_model: Path, kills: int) -> Iterator[Evaluations]:
    write_tiny_task(tmp_path / "items.jsonl", ITEMS_PER_KILL * kills)
    (tmp_path / "model").symlink_to(tiny_model)
    started = Evaluations(tmp_path)
    yield started
    started.parent.kill()
    started.parent.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("kills", [8, pytest.param(20, marks=pytest.mark.exhaustive)])
def test_random_kills_do_not_change_the_set(tmp_path: Path, evaluations: Evaluations, kills: int) -> None:
    items = ITEMS_PER_KILL * kills
    status, reports, _ = evaluations.run("whole")
    assert (status, sum(reports)) == (0, items)

    draw = random.Random(20)
    kept = 0
    for number in range(kills):
        # between the start and many data files; together less than the whole evaluation
        after = (draw.randint(0, len(reports) // kills), draw.uniform(0, 0.02))
        status, answered, messages = evaluations.run("set", after)
        assert status == -signal.SIGKILL, f"it was done before kill {number + 1}"
        assert not (tmp_path / "set").exists()
        if answered:
            assert answered[0] >= kept, "a data file that was on the disk was lost"
            kept = answered[0]
        assert not any("damaged" in line or "other settings" in line for line in messages)

    status, answered, messages = evaluations.run("set")
    assert status == 0
    assert sum(answered) == items
    assert ITEMS_PER_DATA_FILE <= kept <= answered[0] < items
    assert messages == [line for line in messages if "resuming with" in line]
    assert content(tmp_path / "set") == content(tmp_path / "whole")
    ids = open_set(tmp_path / "set").read().table["item_id"].to_pylist()
    assert len(ids) == len(set(ids)) == items
    # a kill can leave a file of a few bytes; writers remove those of yesterday
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith("..set.holder.")} == {
        "items.jsonl", "model", "whole", "set", ".whole.lock", ".set.lock",
    }  # fmt: skip
    assert json.loads((tmp_path / "set" / "manifest.json").read_text())["timings"]["seconds"] > 0
