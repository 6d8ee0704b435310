"""The errors that users see. Each carries the exit code of the command."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command. FAIL (1) means significant degradation or an exceeded limit, and nothing else."""

    PASS = 0
    FAIL = 1
    USAGE = 2
    INCONCLUSIVE = 3
    EVALUATION = 4
    INTERRUPTED = 130
    TERMINATED = 143


class GateError(Exception):
    """Base class of every error with a message for the user.

    Parameters
    ----------
    message : str
        Names the thing, what was expected and what was found.
    hint : str, optional
        The next step.
    """

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  -> {self.hint}"


class ConfigError(GateError):
    """gate.yml or a command-line value is missing, unreadable or wrong."""


class TaskError(GateError):
    """A task cannot be built: its file, a document or a template is wrong."""


class ModelError(GateError):
    """A model cannot be loaded as asked: no weights, broken weights, pickle, a differing tokenizer."""


class SampleError(GateError):
    """A sample set is incomplete, altered, of another schema, or cannot be paired with the other one."""


class EvaluationError(GateError):
    """The evaluation could not be completed (NaN, out of memory, no GPU, disk full)."""

    exit_code = ExitCode.EVALUATION


class StartError(EvaluationError):
    """A model server did not start; the exit code is 2 where gate.yml is the cause."""


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived. A KeyboardInterrupt, because asyncio swallows other exceptions that a signal handler raises."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if there is none; the rest is often a traceback."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if len(line) <= 200 else f"{line[:197]}..."


PANIC = "a library written in Rust (tokenizers, safetensors) stopped with an internal error"


def is_panic(error: BaseException) -> bool:
    """Return whether an error is the panic of a library written in Rust, which is not an Exception (see PyO3)."""
    return type(error).__name__ == "PanicException"
