"""`gate action`: the whole of a CI job, from its inputs to its outputs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, chdir
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from gate.github.effective import EffectiveConfig
    from gate.github.inputs import Inputs
    from gate.report import Result
    from gate.report.candidates import AnyResult, CandidatesResult


class _Action(click.Command):
    """A command with one flag per input; the declarations are read when the command is used."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        from gate.github.inputs import input_fields

        flags = [
            click.Option([f"--{name}", name.replace("-", "_")], metavar="TEXT", help=flag_help(field))
            for name, field in input_fields().items()
        ]
        return [*flags, *super().get_params(ctx)]


@click.command(cls=_Action)
def command(**flags: str | None) -> int:
    """Evaluate, set outputs and publish the verdict in a job of GitHub Actions or GitLab CI.

    Every input is a flag or a variable (INPUT_MAX_KL for --max-kl); a flag wins. Exits with the verdict's code, whether
    or not publishing works.
    """
    return run_action(with_flags(os.environ, flags))


def flag_help(field: FieldInfo) -> str:
    """Return the help of the flag of an input."""
    return (field.description or "").replace("`", "")


def with_flags(environment: Mapping[str, str], flags: Mapping[str, str | None]) -> dict[str, str]:
    """Return the environment with the flags in place of the variables of these inputs.

    Where nothing gives a token, GITHUB_TOKEN or GH_TOKEN does: a `run` step has no default of an action.
    """
    from gate.github.given import variable, variables_of

    given = {name.replace("_", "-"): text for name, text in flags.items() if text is not None}
    replaced = {key for name in given for key in variables_of(name)}
    changed = {key: text for key, text in environment.items() if key not in replaced}
    changed |= {variable(name): text for name, text in given.items()}
    token = environment.get("GITHUB_TOKEN") or environment.get("GH_TOKEN")
    if token and not any(key in changed for key in variables_of("github-token")):
        changed[variable("github-token")] = token
    return changed


def run_action(environment: Mapping[str, str]) -> int:
    """Run the action in the runner's environment and return its exit code.

    Raises
    ------
    GateError
        There is no verdict. The outputs, an annotation and the job summary report it as well.
    """
    from gate.common.termination import is_termination, on_termination
    from gate.errors import PANIC, ExitCode, GateError, is_panic
    from gate.github.no_verdict import report_no_verdict
    from gate.github.outputs import error_outputs

    stopped = "The job was cancelled or the machine was stopped."
    try:
        with on_termination(lambda: _write_stopped(environment, stopped)):
            return _run(environment)
    except GateError as error:
        report_no_verdict(environment, error.exit_code, str(error))
        _write_gitlab(environment, error_outputs(error.exit_code))
        raise
    except KeyboardInterrupt as error:
        code = ExitCode.TERMINATED if is_termination(error) else ExitCode.INTERRUPTED
        report_no_verdict(environment, code, stopped, budget=2.0)  # the runner kills the process after seconds
        _write_gitlab(environment, error_outputs(code))
        raise
    except BaseException as error:
        cause = PANIC if is_panic(error) else f"{type(error).__name__}: this is a bug in quantgate"
        report_no_verdict(environment, ExitCode.EVALUATION, f"{cause}.")
        _write_gitlab(environment, error_outputs(ExitCode.EVALUATION))
        raise


def _write_stopped(environment: Mapping[str, str], message: str) -> None:
    """Write, without the network, that the run was stopped. The status of the commit is then still pending."""
    from gate.errors import ExitCode
    from gate.github.no_verdict import write_no_verdict
    from gate.github.outputs import error_outputs

    write_no_verdict(environment, ExitCode.TERMINATED, message)
    _write_gitlab(environment, error_outputs(ExitCode.TERMINATED))


def _run(environment: Mapping[str, str]) -> int:
    from gate.github.effective import effective_config
    from gate.github.given import read_inputs, reproduce_command, working_folder
    from gate.github.outputs import verdict_outputs, write_outputs
    from gate.github.publish import check_names, start
    from gate.github.template import read_template

    _mask_token(environment)
    inputs, overrides = read_inputs(environment)
    check_names(inputs)  # publishing would refuse them only after the evaluation
    start(inputs, environment)
    with chdir(working_folder(inputs)):
        if inputs.comment_template is not None:
            read_template(Path(inputs.comment_template))
        config = effective_config(inputs, overrides, Path())
        result, code, missing = _evaluate(config, inputs, reproduce_command(inputs, overrides), environment)
        outputs = verdict_outputs(result, code, config.loaded, environment, missing)
        write_outputs(environment, outputs)
        _write_gitlab(environment, outputs)
        _publish(result, config, inputs, environment)
    return _exit_code(code, inputs)


def _exit_code(code: int, inputs: Inputs) -> int:
    """Return the exit code of the job: with report-only, a verdict never fails it."""
    from gate.errors import ExitCode

    return ExitCode.PASS if inputs.report_only and code in (ExitCode.FAIL, ExitCode.INCONCLUSIVE) else code


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
    from gate.gitlab.publish import on_gitlab
    from gate.gitlab.publish import publish as publish_on_gitlab

    try:
        if on_gitlab(environment):
            url = publish_on_gitlab(result, inputs, config.path, config.task_lines, environment)
        else:
            url = publish(result, inputs, config.path, config.task_lines, environment).comment_url
    except Exception as error:
        warn(f"publishing failed ({type(error).__name__}: {error}). {VERDICT_STANDS}")
        return
    write_outputs(environment, {"comment-url": url or ""})


def _write_gitlab(environment: Mapping[str, str], outputs: Mapping[str, str]) -> None:
    """Write the outputs for later jobs of GitLab CI; a failure is only a warning."""
    from gate.errors import GateError
    from gate.github.messages import warn
    from gate.gitlab.files import write_variables
    from gate.gitlab.publish import on_gitlab, project_folder

    if on_gitlab(environment):
        try:
            write_variables(project_folder(environment), outputs)
        except (GateError, OSError) as error:
            warn(f"the variables for later jobs cannot be written ({error}).")


def _mask_token(environment: Mapping[str, str]) -> None:
    """Make the runner hide the token in the log. Elsewhere the command itself would reveal it."""
    from gate.common.workflow_commands import workflow_command
    from gate.github.given import raw_input

    token = raw_input(environment, "github-token")
    if token and environment.get("GITHUB_ACTIONS") == "true":
        click.echo(workflow_command("add-mask", token))
