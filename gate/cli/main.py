"""The command line: dispatches to a command and turns every error into its exit code."""

from __future__ import annotations

import difflib
import errno
import gc
import importlib
import io
import logging
import os
import sys
import traceback
from contextlib import suppress

import click

from gate import __version__
from gate.cli.bisect import for_git, is_bisecting
from gate.common.termination import handle_termination, is_termination
from gate.common.workflow_commands import disarm
from gate.errors import PANIC, ExitCode, GateError, is_panic

# by name, the line in `gate --help`; the module gate.cli.NAME is imported when its command is used
_COMMANDS = {
    "run": "Evaluate the candidate (and the baseline unless it is cached), compare, report.",
    "baseline": "Evaluate the baseline and store its samples.",
    "evaluate": "Evaluate any model and write its samples.",
    "compare": "Compare sample sets, or files of other tools. Needs no model.",
    "noise": "Evaluate the baseline twice: how much do its own answers change?",
    "plan": "Print which drop a suite can detect, or how many items are needed to detect a given drop.",
    "report": "Render a result.json in another format.",
    "demo": "Run the gate end to end on a small real model, on a laptop CPU.",
    "comment": "Post or update the pull-request comment for a result.json.",
    "fingerprint": "Print the cache key of the baseline.",
    "merge": "Merge the shards of a workflow matrix.",
    "curate": "Keep the items that a model gets right sometimes but not always.",
    "history": "List past runs: drops, flips, p-values, alpha spent.",
    "doctor": "Check this machine: GPU, packages, memory, disk, network, token.",
    "action": "Do what the GitHub Action does, in any CI or on this machine.",
    "schema": "Print the JSON Schema of gate.yml.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(f"gate.cli.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101 - for the type checker
        command.name = cmd_name
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"{error.message}{hint}", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="quantgate")
def cli() -> None:
    """Tell whether an optimised LLM is worse than the model it replaces, or only different by noise.

    Exit codes: 0 PASS, 1 FAIL (significant degradation or an exceeded limit), 2 wrong usage or input, 3 INCONCLUSIVE if
    the policy blocks it or the run could not have shown a loss, 4 the evaluation could not be completed or a report
    could not be written, 130 interrupted, 143 terminated.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the documented code; never 1 for anything but degradation."""
    # spinning OpenMP threads waste most of a busy machine's time
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # objects of imports and models stay alive; collecting them repeatedly costs a tenth of the start-up
    gc.set_threshold(100_000, 50, 100)
    os.environ.setdefault("TQDM_DISABLE", "1")  # no progress bars of libraries beside ours; read at import
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.captureWarnings(True)  # to the same handler
    # imported by transformers; their warnings are irrelevant here
    for noisy in ("torchao", "torch.utils._pytree"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with handle_termination():
        code = _run(arguments)
        if is_bisecting(arguments):
            code = for_git(code)
        sys.exit(_flushed(code))


def _run(arguments: list[str] | None) -> int:
    """Run the command line and return its exit code, whatever happens."""
    try:
        # commands return their exit code
        return int(cli.main(args=arguments, standalone_mode=False) or 0)
    except GateError as error:
        _say(f"error: {error}")
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        # click turns a KeyboardInterrupt into an Abort
        terminated = is_termination(error)
        _say(f"{'terminated' if terminated else 'interrupted'}; completed work is kept, and the same command resumes")
        return ExitCode.TERMINATED if terminated else ExitCode.INTERRUPTED
    except click.ClickException as error:
        message = io.StringIO()
        error.show(file=message)
        _say(message.getvalue().rstrip("\n"))
        return ExitCode.USAGE
    except SystemExit:  # click and rich exit with 1 if the reader of standard output went away
        return ExitCode.EVALUATION
    except BrokenPipeError:
        return ExitCode.EVALUATION
    except OSError as error:
        name = "standard output or a file" if error.filename is None else str(error.filename)
        if error.errno == errno.ENAMETOOLONG:
            _say(f"error: the path {name[:80]}... is too long ({len(name):,} characters).\n  -> Use a shorter name.")
            return ExitCode.USAGE
        _say(f"error: {name}: {error.strerror or error}.\n  -> Check the disk space and the permissions.")
        return ExitCode.EVALUATION
    except MemoryError:
        _say("error: out of memory.\n  -> Use smaller inputs, or a machine with more memory.")
        return ExitCode.EVALUATION
    except BaseException as error:  # no error may exit with Python's 1
        if is_panic(error):
            _say(f"error: {PANIC}: {error}\n  -> Check the model's tokenizer.json; it may be damaged.")
            return ExitCode.EVALUATION
        _say(traceback.format_exc().rstrip("\n"))
        _say("error: this is a bug in quantgate; please report it with the lines above")
        return ExitCode.EVALUATION


def _flushed(code: int) -> int:
    """Return the exit code after flushing the output; if nobody can read it, only a FAIL keeps its code.

    Python itself would exit with 120 if it could not flush a stream at the end.
    """
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            if number == 1 and code == ExitCode.PASS:
                code = ExitCode.EVALUATION
    return code


class _Formatter(logging.Formatter):
    """Formats log records, with their tracebacks, without workflow commands: they may quote files and servers."""

    def format(self, record: logging.LogRecord) -> str:
        return disarm(super().format(record))


def _say(text: str) -> None:
    with suppress(OSError, ValueError):  # standard error may be closed or on a full disk
        click.echo(disarm(text), err=True)
