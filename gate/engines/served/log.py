"""The log of a server: its end for messages, and what it says about a failure."""

from __future__ import annotations

import re
from pathlib import Path

from gate.errors import EvaluationError, ExitCode, StartError

_READ = 64 << 10  # bytes
_LINES, _WIDTH = 15, 200
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|[^\x20-\x7e\u00a0-\ud7ff\ue000-\uffff]")

_MEMORY = re.compile(
    r"out of memory|outofmemory|no available memory for the cache|larger than the available kv cache memory"
    r"|less than desired gpu memory utilization|cannot allocate memory|failed to allocate|bad_alloc|memoryerror"
    r"|not enough memory|insufficient memory",
    re.IGNORECASE,
)
_PORT = re.compile(
    r"address already in use|eaddrinuse|couldn't bind|could not bind|failed to bind|port \d+ (is )?(in use|taken)",
    re.IGNORECASE,
)
_ARGUMENT = re.compile(r"unrecognized argument|unknown argument|invalid argument|error: argument|invalid choice"
                       r"|no such option|expected one argument", re.IGNORECASE)  # fmt: skip
# the last line of a traceback; the processes of vLLM put their name and the time before it
_RAISED = re.compile(r"^(?:.*\bERROR\b.*\] )?((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception)(?:: .+)?)$")
_MODULE = re.compile(r"No module named '?([\w.]+)")
_KILLED = 128 + 9
_FREE_MEMORY = (
    "Free the memory that other processes use, lower the server's memory or context length in engine.args "
    "(vLLM: --gpu-memory-utilization, --max-model-len), or use more or larger GPUs."
)


class Log:
    """A file that a server writes, from its present end on; `whole` also reads what earlier servers wrote."""

    def __init__(self, path: Path, *, whole: bool = False) -> None:
        self.path = path
        self.start = path.stat().st_size if path.is_file() and not whole else 0

    def lines(self) -> list[str]:
        """Return the last lines, without control characters; empty lines are left out."""
        try:
            with self.path.open("rb") as handle:
                size = handle.seek(0, 2)
                handle.seek(max(self.start, size - _READ))
                text = handle.read().decode(errors="replace")
        except OSError:
            return []
        lines = (_CONTROL.sub("", line.rpartition("\r")[2] or line).rstrip() for line in text.split("\n"))
        return [line for line in lines if line]

    def tail(self) -> str:
        """Return the last lines, indented, for a message, or that there are none.

        An exception before them comes first: where one process of a server fails, the others print their own tracebacks
        after it.
        """
        lines = self.lines()
        if not lines:
            return f"Its log, {self.path}, is empty."
        raised = filter(None, map(_RAISED.search, lines[:-_LINES]))
        first = [f"An earlier error in its log: {match[1][:_WIDTH]}" for match in raised][:1]
        last = [f"    | {line[:_WIDTH]}" for line in lines[-_LINES:]]
        return "\n".join([*first, f"The end of its log, {self.path}:", *last])


def is_port_taken(log: Log) -> bool:
    """Return whether a server ended because another process has its port."""
    return bool(_PORT.search("\n".join(log.lines())))


def failure(what: str, code: int, log: Log, kind: type[EvaluationError] = StartError) -> EvaluationError:
    """Return the error for a server that ended.

    Parameters
    ----------
    what : str
        The server and when it ended, e.g. `model m: vllm ended while it started`.
    code : int
        Exit code; 128 + N for signal N.
    kind : type
        Type of the error.
    """
    exit_code, cause, hint = _diagnose("\n".join(log.lines()), code)
    error = kind(f"{what} ({ending(code)}{cause}).\n{log.tail()}", hint)
    error.exit_code = exit_code
    return error


def ending(code: int) -> str:
    """Return an exit code as text; 128 + N is signal N."""
    return f"signal {code - 128}" if code > 128 else f"exit code {code}"


def _diagnose(text: str, code: int) -> tuple[ExitCode, str, str]:
    """Return the gate's exit code, the cause as text, and the next step."""
    if _MEMORY.search(text):
        return ExitCode.EVALUATION, ": it ran out of memory", _FREE_MEMORY
    if _ARGUMENT.search(text):
        return ExitCode.USAGE, ": it does not accept its arguments", "Check engine.args and engine.command."
    if _PORT.search(text):
        return ExitCode.EVALUATION, ": its port is taken", "Set engine.port: auto, or another port."
    if missing := _MODULE.search(text):
        return ExitCode.USAGE, f": the Python module {missing[1]} is missing", "Check engine.python and engine.command."
    if code == _KILLED:
        return ExitCode.EVALUATION, ": killed, perhaps because memory ran out", _FREE_MEMORY
    return ExitCode.EVALUATION, "", "Look for the cause in the log."
