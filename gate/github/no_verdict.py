"""Reports on GitHub that a run ended without a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from gate.errors import ConfigError, ExitCode
from gate.github.annotations import annotation
from gate.github.client import Client
from gate.github.context import on_github, read_context
from gate.github.given import raw_input
from gate.github.inputs import Inputs
from gate.github.messages import warn
from gate.github.outputs import NO_VERDICT, error_outputs, write_outputs
from gate.github.pulls import commit_of
from gate.github.status import Mark, post_mark
from gate.report.escape import markdown

_DEFAULT_NAME = Inputs().name
_TITLE = f"quantgate: {NO_VERDICT}"


def report_no_verdict(environment: Mapping[str, str], code: ExitCode, message: str, budget: float = 60.0) -> None:
    """Report an error in the outputs, an annotation, the job summary and the commit status. Never raises.

    The inputs are read from the environment unvalidated, because they may be the error. `budget` limits the seconds
    spent on requests to GitHub.
    """
    write_no_verdict(environment, code, message)
    name, token = raw_input(environment, "status-context"), raw_input(environment, "github-token")
    kind = raw_input(environment, "status") or ("status" if name else "none")
    if on_github(environment) and token and kind in ("check", "status"):
        mark = Mark("check" if kind == "check" else "status", name or raw_input(environment, "name") or _DEFAULT_NAME)
        try:
            _set_error(mark, token, environment, budget)
        except Exception as error:
            warn(f"{mark.title} was not set to error ({type(error).__name__}: {error}).")


def write_no_verdict(environment: Mapping[str, str], code: ExitCode, message: str) -> None:
    """Report an error in the outputs, an annotation and the job summary, without the network. Never raises."""
    write_outputs(environment, error_outputs(code))
    if not on_github(environment):
        return
    with suppress(OSError, ValueError):
        click.echo(annotation("error", message, _TITLE))
    file = environment.get("GITHUB_STEP_SUMMARY")
    if file:
        lines = "".join(f"- {markdown(line, 1000)}\n" for line in message.splitlines() if line.strip())
        text = f"\n## {_TITLE}\n\nThere is no verdict on the model. The job fails.\n\n{lines}"
        with suppress(OSError), Path(file).open("a", encoding="utf-8") as handle:
            handle.write(text)


def _set_error(mark: Mark, token: str, environment: Mapping[str, str], budget: float) -> None:
    """Set the mark to an error, so that an earlier run's success for this commit no longer counts."""
    context = read_context(environment)
    sha = commit_of(context)
    if sha is None:
        raise ConfigError("The commit is unknown (GITHUB_SHA is not set).")
    with Client(context.api_url, token, budget=budget) as client:
        text = f"{NO_VERDICT}: the evaluation was not completed; see the log of the job"
        post_mark(
            client, context.repository, sha, replace(mark, run_id=context.run_id, url=context.run_url), "error", text
        )
