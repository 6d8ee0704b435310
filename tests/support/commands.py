"""Run `gate` in this process, and Python code in a new one."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from gate.cli.main import main


class CommandResult(NamedTuple):
    """Exit code, standard output and standard error."""

    code: int
    out: str
    err: str


def run_gate(*arguments: object) -> CommandResult:
    """Run a gate command in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="", write_through=True) for _ in range(2))
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as caught,
    ):
        main([str(argument) for argument in arguments])
    assert isinstance(caught.value.code, int)
    return CommandResult(caught.value.code, *(_written(stream) for stream in (out, err)))


def run_python(
    code: str, *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> CommandResult:
    """Run Python code in a new process."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)
    return CommandResult(process.returncode, process.stdout, process.stderr)


_LIST_PACKAGES = """
import sys
from gate.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print("loaded:", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def imported_packages(*arguments: object) -> tuple[int, set[str]]:
    """Run a gate command in a new process; return its exit code and the top-level packages that it imported."""
    code, _, err = run_python(_LIST_PACKAGES, *arguments)
    return code, set(err.rpartition("loaded:")[2].split())


def _written(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()
