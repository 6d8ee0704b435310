"""`gate action`: the entry point of the container action, from GitHub's inputs to its outputs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, chdir
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gate.github.effective import EffectiveConfig
    from gate.github.inputs import Inputs
    from gate.report import Result
    from gate.report.candidates import AnyResult, CandidatesResult


@click.command()
def command() -> int:
    """Run the gate as a GitHub Action: read the INPUT_ variables, evaluate, set outputs, publish the verdict.

    Exits with the verdict's code, whether or not publishing works. `docs/action.md` lists the inputs.
    """
    return run_action(os.environ)


def run_action(environment: Mapping[str, str]) -> int:
    """Run the action in the runner's environment and return its exit code.

    Raises
    ------
    GateError
        There is no verdict. The outputs, an annotation and the job summary report it as well.
    """
    from gate.common.termination import on_termination
    from gate.errors import PANIC, ExitCode, GateError, Terminated, is_panic
    from gate.github.no_verdict import report_no_verdict, write_no_verdict

    stopped = "The job was cancelled or the machine was stopped."
    try:
        with on_termination(lambda: write_no_verdict(environment, ExitCode.TERMINATED, stopped)):
            return _run(environment)
    except GateError as error:
        report_no_verdict(environment, error.exit_code, str(error))
        raise
    except KeyboardInterrupt as error:
        code = ExitCode.TERMINATED if isinstance(error, Terminated) else ExitCode.INTERRUPTED
        report_no_verdict(environment, code, stopped, budget=2.0)  # the runner kills the process after seconds
        raise
    except BaseException as error:
        cause = PANIC if is_panic(error) else f"{type(error).__name__}: this is a bug in quantgate"
        report_no_verdict(environment, ExitCode.EVALUATION, f"{cause}.")
        raise


def _run(environment: Mapping[str, str]) -> int:
    from gate.github.effective import effective_config
    from gate.github.inputs import read_inputs, reproduce_command, working_folder
    from gate.github.outputs import verdict_outputs, write_outputs
    from gate.github.publish import check_names

    _mask_token(environment)
    inputs, overrides = read_inputs(environment)
    check_names(inputs)  # publishing would refuse them only after the evaluation
    with chdir(working_folder(inputs)):
        config = effective_config(inputs, overrides, Path())
        result, code, missing = _evaluate(config, inputs, reproduce_command(inputs, overrides), environment)
        write_outputs(environment, verdict_outputs(result, code, config.loaded, environment, missing))
        _publish(result, config, inputs, environment)
    return code


def _evaluate(
    config: EffectiveConfig, inputs: Inputs, command_line: list[str], environment: Mapping[str, str]
) -> tuple[AnyResult, int, list[str]]:
    """Run the gate, with the log of the evaluation collapsed, and hand the written files to the runner's user.

    Return the result, the exit code, and the paths of reports that could not be written.
    """
    from gate.app.report_files import ReportError
    from gate.app.run import run_any
    from gate.cli.console import Terminal
    from gate.common.caches import all_caches
    from gate.github.annotations import annotation, group
    from gate.github.context import on_github
    from gate.github.messages import warn
    from gate.github.ownership import give_to_owner, written_paths

    collapsed = ExitStack()

    class ActionTerminal(Terminal):
        def result(self, result: Result) -> None:
            collapsed.close()
            super().result(result)

        def candidates(self, result: CandidatesResult) -> None:
            collapsed.close()
            super().candidates(result)

    try:
        if on_github(environment):
            collapsed.enter_context(group("Evaluation"))
        result = run_any(
            config.loaded,
            force_baseline=inputs.force_baseline,
            command=command_line,
            reporter=ActionTerminal(),
        )
        return result, result.exit_code, []
    except ReportError as error:
        if on_github(environment):
            click.echo(annotation("error", str(error), "quantgate: reports"))
        else:
            warn(str(error))
        return error.result, error.exit_code, [name for name, _ in error.problems]
    finally:
        collapsed.close()
        give_to_owner(environment.get("GITHUB_WORKSPACE"), [*written_paths(config.loaded), *all_caches()])
        give_to_owner(environment.get("HOME"), all_caches())


def _publish(result: AnyResult, config: EffectiveConfig, inputs: Inputs, environment: Mapping[str, str]) -> None:
    """Publish the verdict and set the output `comment-url`. An error here never changes the exit code."""
    from gate.github.messages import VERDICT_STANDS, warn
    from gate.github.outputs import write_outputs
    from gate.github.publish import publish

    try:
        published = publish(result, inputs, config.path, config.task_lines, environment)
    except Exception as error:
        warn(f"publishing failed ({type(error).__name__}: {error}). {VERDICT_STANDS}")
        return
    write_outputs(environment, {"comment-url": published.comment_url or ""})


def _mask_token(environment: Mapping[str, str]) -> None:
    """Make the runner hide the token in the log. Elsewhere the command itself would reveal it."""
    from gate.common.workflow_commands import workflow_command
    from gate.github.inputs import raw_input

    token = raw_input(environment, "github-token")
    if token and environment.get("GITHUB_ACTIONS") == "true":
        click.echo(workflow_command("add-mask", token))
