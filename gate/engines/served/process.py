"""A server's process: started through the supervisor, and stopped with everything that it started."""

from __future__ import annotations

import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from gate.engines.served import supervisor
from gate.engines.served.log import Log
from gate.errors import EvaluationError

GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL."""
_MARGIN = 5.0  # seconds for the supervisor itself


class ServerProcess:
    """A running server. It ends with `stop`, with this object, or with this process, whatever ends that.

    Raises
    ------
    EvaluationError
        The log cannot be written, or no process can be started.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Log, grace: float = GRACE
    ) -> None:
        self.log = log
        # -I -S: neither the environment nor installed packages can break the supervisor
        words = [sys.executable, "-I", "-S", supervisor.__file__, str(grace), *command]
        try:
            log.path.parent.mkdir(parents=True, exist_ok=True)
            with log.path.open("ab") as output:
                process = subprocess.Popen(  # noqa: S603 - the command of gate.yml
                    words,
                    cwd=folder,
                    env=dict(environment),
                    stdin=subprocess.PIPE,  # its end tells the supervisor that the gate has ended
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C reaches the gate only, which then stops the server
                )
        except OSError as error:
            raise EvaluationError(f"a server cannot be started: {error}.", "Check the disk and the limits.") from None
        self._process = process
        self._stop = weakref.finalize(self, _stop, process, grace)

    @property
    def processes(self) -> list[int]:
        """The server and what it started; empty where the system does not tell."""
        return supervisor.descendants(self._process.pid)

    @property
    def exit_code(self) -> int | None:
        """The exit code of the server (128 + N for signal N), or None while it runs."""
        code = self._process.poll()
        return None if code is None else 128 - code if code < 0 else code

    def stop(self) -> None:
        """End the server and everything that it started, and wait for it."""
        self._stop()


def _stop(process: subprocess.Popen[bytes], grace: float) -> None:
    assert process.stdin is not None  # noqa: S101 - for the type checker
    with suppress(OSError):
        process.stdin.close()
    with suppress(subprocess.TimeoutExpired):  # a process that even SIGKILL does not end: the supervisor keeps trying
        process.wait(grace + _MARGIN)
