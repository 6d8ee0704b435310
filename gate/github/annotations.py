"""Annotations: the verdict on the lines of gate.yml that name the tasks, and groups in the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import click

from gate.common.workflow_commands import workflow_command
from gate.decision import wording
from gate.report.candidates import CandidatesResult
from gate.report.candidates_rows import headline, reasons, warnings
from gate.report.escape import log_line
from gate.report.result import Result

ANNOTATION_LIMIT = 10
"""GitHub shows this many errors, warnings and notices per step, and silently drops the rest."""

Level = Literal["error", "warning", "notice"]
_WARNINGS = 3  # about the evaluation itself; the report has all


def annotation(level: Level, message: str, title: str = "", file: str | None = None, line: int | None = None) -> str:
    """Return the workflow command of one annotation; its texts are shortened and cannot form another command."""
    properties = {"file": file, "line": None if line is None else str(line), "title": title or None}
    return workflow_command(
        level,
        log_line(message, 1000),
        {key: log_line(value) for key, value in properties.items() if value is not None},
    )


def candidates_annotations(result: CandidatesResult, file: str | None, report_only: bool = False) -> list[str]:
    """Return the annotations of several candidates: one for the run, then one per candidate that fails or is missing.

    At most `ANNOTATION_LIMIT` errors. `file` is gate.yml, relative to the root of the repository; with `report_only`,
    verdicts are warnings.
    """
    line = 1 if file else None
    worst: Level = "warning" if report_only else "error"
    level: Level = "error" if result.unevaluated else _level(result, worst)
    commands = [annotation(level, f"{headline(result)}.", f"quantgate: {result.verdict}", file, line)]
    warned = warnings(result)[:_WARNINGS]
    commands += [annotation("warning", f"{name}: {text}", "quantgate: check the evaluation") for name, text in warned]
    broken = {*(one.name for one in result.failed), *(one.name for one in result.unevaluated)}
    found = [(name, text) for name, text in reasons(result) if name in broken]
    commands += [annotation(worst, text, f"quantgate: {name}") for name, text in found[: ANNOTATION_LIMIT - 1]]
    return commands


def _level(result: Result | CandidatesResult, worst: Level) -> Level:
    if result.exit_code:
        return worst
    return "notice" if result.verdict == "PASS" else "warning"


def verdict_annotations(
    result: Result, file: str | None, lines: Mapping[str, int], report_only: bool = False
) -> list[str]:
    """Return the annotations of a verdict: warnings about the evaluation, the whole run, and each task that fails.

    At most `ANNOTATION_LIMIT` errors, and a few warnings: errors for FAIL and for an INCONCLUSIVE that fails the job, a
    warning for one that does not, a notice for PASS.

    Parameters
    ----------
    file : str or None
        gate.yml, relative to the root of the repository.
    lines : mapping of str to int
        Line of each task in gate.yml, from 1.
    report_only : bool
        Show a FAIL as warnings, because the job passes.
    """
    worst: Level = "warning" if report_only else "error"
    summary = " ".join([*result.reasons, f"({wording.headline(result)})"])
    title = f"quantgate: {result.verdict}"
    commands = [annotation(_level(result, worst), summary, title, file, 1 if file else None)]
    for finding in result.warnings[:_WARNINGS]:
        line = None if finding.task is None else lines.get(finding.task)
        title = "quantgate: check the evaluation"
        commands.insert(-1, annotation("warning", finding.message, title, None if line is None else file, line))
    if result.verdict != "FAIL":
        return commands
    worse = sorted(result.failed_tasks, key=lambda task: (task.p_adjusted, task.p_holm, -task.drop))
    shown = worse if len(worse) < ANNOTATION_LIMIT else worse[: ANNOTATION_LIMIT - 2]
    for task in shown:
        line = lines.get(task.task)
        title = f"quantgate: {task.task} is worse"
        summary = wording.task_summary(result, task)
        commands.append(annotation(worst, summary, title, None if line is None else file, line))
    if len(worse) > len(shown):
        commands.append(annotation(worst, f"{len(worse) - len(shown)} more tasks are worse; see the report."))
    return commands


def path_in_repository(path: Path | None, workspace: Path | None) -> str | None:
    """Return a file's path relative to the root of the repository, or None where it lies outside of it."""
    if path is None:
        return None
    root = (workspace or Path.cwd()).resolve()
    resolved = path.resolve()
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else None


@contextmanager
def group(title: str) -> Iterator[None]:
    """Collapse the log lines printed inside the context."""
    click.echo(workflow_command("group", log_line(title)))
    try:
        yield
    finally:
        click.echo(workflow_command("endgroup"))
