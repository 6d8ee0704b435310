"""The command line: dispatches to a command and turns every error into its exit code."""

from __future__ import annotations

import difflib
import gc
import importlib
import io
import logging
import os
import sys
import traceback

import click

from gate import __version__
from gate.errors import ExitCode, GateError
from gate.workflow_commands import disarm

# name: (module that defines `command`, line in `gate --help`); a module is imported when its command is used
_COMMANDS = {
    "run": ("gate.cli.run", "Judge a candidate against its baseline: evaluate, compare, report."),
    "baseline": ("gate.cli.baseline", "Evaluate the baseline and store its samples."),
    "evaluate": ("gate.cli.evaluate", "Evaluate any model and write its samples."),
    "compare": ("gate.cli.compare", "Compare two sample sets, or files of other tools. Needs no model."),
    "plan": ("gate.cli.plan", "Print the detectable drop, or the number of items that a drop needs."),
    "report": ("gate.cli.report", "Render a result.json as Markdown, HTML, JUnit XML or JSON."),
    "demo": ("gate.cli.demo", "Run the whole job on a small real model, on a laptop CPU."),
    "comment": ("gate.cli.comment", "Post or update the pull-request comment for a result.json."),
    "fingerprint": ("gate.cli.fingerprint", "Print the cache key of the baseline."),
    "merge": ("gate.cli.merge", "Merge the shards of a workflow matrix."),
    "curate": ("gate.cli.curate", "Choose the items that carry signal, using the baseline only."),
    "history": ("gate.cli.history", "List past runs: drops, flips, p-values, alpha spent."),
    "doctor": ("gate.cli.doctor", "Check this machine: GPU, packages, memory, disk, network, token."),
    "action": ("gate.cli.action", "Entry point of the GitHub Action."),
    "schema": ("gate.cli.schema", "Print the JSON Schema of gate.yml."),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(_COMMANDS[cmd_name][0]).command
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
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="quantgate")
def cli() -> None:
    """Tell whether an optimised LLM is worse than the model it replaces, or only different by noise.

    Exit codes: 0 PASS, 1 FAIL (significant degradation or an exceeded budget), 2 wrong usage or input, 3 INCONCLUSIVE if
    the policy blocks it, 4 the evaluation could not be completed, 130 interrupted.
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
    for noisy in (
        "torchao",
        "torch.utils._pytree",
    ):  # imported by transformers; their warnings are irrelevant here
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        # commands return their exit code
        code = cli.main(args=arguments, standalone_mode=False)
    except GateError as error:
        _say(f"error: {error}")
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted; completed work is kept, and the same command resumes")
        code = ExitCode.INTERRUPTED
    except click.ClickException as error:
        said = io.StringIO()
        error.show(file=said)
        _say(said.getvalue().rstrip("\n"))
        code = ExitCode.USAGE
    except SystemExit:  # click and rich exit with 1 if the reader of standard output went away
        code = ExitCode.EVALUATION
    except Exception:  # the exit code of an unexpected error must not be Python's 1
        _say(traceback.format_exc().rstrip("\n"))
        _say("error: this is a bug in quantgate; please report it with the lines above")
        code = ExitCode.EVALUATION
    sys.exit(int(code or 0))


class _Formatter(logging.Formatter):
    """Formats log records, with their tracebacks, without workflow commands: they may quote files and servers."""

    def format(self, record: logging.LogRecord) -> str:
        return disarm(super().format(record))


def _say(text: str) -> None:
    click.echo(disarm(text), err=True)
