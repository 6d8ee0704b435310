"""Runs of `gate run` that end at a chosen file-system operation: with kill -9, or with a full disk from there on.

A server process has the packages loaded; each run is a fork of it. Started as a program, this file is that server:
it reads one JSON line per run and answers with one.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_CHANGES = ("replace", "rename", "unlink", "remove", "mkdir", "rmdir", "write", "fsync", "ftruncate", "chmod")
"""Functions of `os` that change files; `open` as well, if the file may be written."""
_TIMEOUT = 600  # seconds per run


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes
    ----------
    status : int
        The exit code; negative: the signal.
    points : list of str
        Its operations by name.
    written : int
        Bytes written, where the disk was limited.
    text : str
        Its output.
    """

    status: int
    points: list[str] = field(default_factory=list)
    written: int = 0
    text: str = ""


class Runs:
    """Starts runs in project folders, one at a time."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[1]),
                "OMP_NUM_THREADS": "1",
                "TOKENIZERS_PARALLELISM": "false",  # threads do not survive a fork
            },
        )

    def run(self, project: Path, kill: int | None = None, full: int | None = None) -> Ended:
        """Run `gate run` in a project.

        Parameters
        ----------
        kill : int, optional
            Kill the run just before (2 n) or just after (2 n + 1) its operation n.
        full : int, optional
            Bytes that the run may still write; then the disk is full.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps({"project": str(project), "kill": kill, "full": full}) + "\n")
        self._server.stdin.flush()
        return Ended(**json.loads(self._server.stdout.readline()))

    def close(self) -> None:
        """End the server."""
        self._server.kill()
        self._server.communicate()


@contextmanager
def runs() -> Iterator[Runs]:
    """Open a server for runs."""
    started = Runs()
    try:
        yield started
    finally:
        started.close()


def copied(project: Path, folder: Path) -> Path:
    """Return a copy of a project without anything that a run wrote; its models are shared."""
    folder.mkdir()
    for name in ("gate.yml", "items.jsonl"):
        shutil.copy(project / name, folder / name)
    for name in ("base", "other"):
        (folder / name).symlink_to((project / name).resolve())
    return folder


class _Points:
    """Counts the operations that change files, and kills the process at one of them."""

    def __init__(self, kill: int | None) -> None:
        self.names: list[str] = []
        self._kill = kill

    def install(self) -> None:
        for name in (*_CHANGES, "open"):
            setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            if name == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return function(*arguments, **keywords)
            number = len(self.names)
            self.names.append(name)
            self._kill_at(2 * number)
            try:
                return function(*arguments, **keywords)
            finally:
                self._kill_at(2 * number + 1)

        return call

    def _kill_at(self, point: int) -> None:
        if point == self._kill:
            os.kill(os.getpid(), signal.SIGKILL)


class _FullDisk:
    """Lets `os.open`ed files grow by a number of bytes in total, then fails as a full disk does."""

    def __init__(self, left: int) -> None:
        self._left = left
        self.written = 0

    def install(self) -> None:
        fdopen, write, mkdir = os.fdopen, os.write, os.mkdir
        disk = self

        def limited_open(descriptor: int, *arguments: Any, **keywords: Any) -> Any:
            handle = fdopen(descriptor, *arguments, **keywords)
            if not handle.writable():
                return handle
            return _Limited(handle, disk)

        def limited_write(descriptor: int, content: bytes) -> int:
            return write(descriptor, content[: disk.take(len(content))])

        def limited_mkdir(*arguments: Any, **keywords: Any) -> None:
            disk.take(1)
            mkdir(*arguments, **keywords)

        os.fdopen, os.write, os.mkdir = limited_open, limited_write, limited_mkdir  # type: ignore[assignment]

    def take(self, count: int) -> int:
        """Return how many bytes fit; an OSError if none does."""
        taken = min(count, self._left)
        if count and not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._left -= taken
        self.written += taken
        return taken


class _Limited:
    def __init__(self, handle: Any, disk: _FullDisk) -> None:
        self._handle, self._disk = handle, disk

    def __enter__(self) -> _Limited:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)

    def write(self, content: bytes) -> int:
        taken = self._disk.take(len(content))
        self._handle.write(content[:taken])
        if taken < len(content):
            self._disk.take(1)
        return taken


def _serve() -> None:
    import tempfile

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print
    from support.tiny import write_tiny_model, write_tiny_project

    with tempfile.TemporaryDirectory() as folder:  # one whole run loads every package
        model = write_tiny_model(Path(folder) / "model")
        (Path(folder) / "project").mkdir()
        _gate_run(write_tiny_project(Path(folder) / "project", model, model))
    gc.freeze()  # each run collects garbage, which would touch every page of its parent
    for line in sys.stdin:
        request = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            code = 99
            try:
                code = _start(request, writing)
            finally:
                os._exit(code)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            if not select.select([pipe], [], [], _TIMEOUT)[0]:
                os.kill(child, signal.SIGABRT)
            *points, written = pipe.read().split() or ["0"]
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        text = Path(request["project"], "output.txt").read_text()
        print(
            json.dumps({"status": status, "points": points, "written": int(written), "text": text}),
            file=answers,
            flush=True,
        )


def _start(request: dict[str, Any], report: int) -> int:
    """Run `gate run` in a project, and write the names of its operations to the descriptor `report`."""
    write = os.write
    points = _Points(request["kill"])
    points.install()
    disk = _FullDisk(request["full"] or 0)
    if request["full"] is not None:
        disk.install()
    code = _gate_run(Path(request["project"]))
    write(report, " ".join([*points.names, str(disk.written)]).encode())
    return code


def _gate_run(project: Path) -> int:
    """Run `gate run` in a project, whose file output.txt gets the output, and return the exit code."""
    from gate.cli.main import main

    os.chdir(project)
    os.environ["GATE_CACHE"] = str(project / "cache")
    with (project / "output.txt").open("w") as output, redirect_stdout(output), redirect_stderr(output):
        try:
            main(["run"])
        except SystemExit as error:
            return int(error.code or 0)
    raise AssertionError("main returns by SystemExit")


if __name__ == "__main__":
    _serve()
