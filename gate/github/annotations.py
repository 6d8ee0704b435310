"""Annotations: the verdict on the line of gate.yml that names the task, and groups in the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import click

from gate.config import LoadedConfig
from gate.decision.result import TaskResult
from gate.report import words
from gate.report.escape import log_line
from gate.report.result import Result

LIMIT = 10
"""GitHub shows so many errors, so many warnings and so many notices of a step, and drops the rest silently."""

Kind = Literal["error", "warning", "notice"]


def task_lines(loaded: LoadedConfig) -> dict[str, int]:
    """Return the line of each task in a gate.yml, from 1."""
    return {
        task.name: loaded.lines.get(("tasks", index), 1) for index, task in enumerate(loaded.config.tasks)
    }


def annotation(
    kind: Kind, message: str, title: str = "", file: str | None = None, line: int | None = None
) -> str:
    """Return one workflow command; no text in it can end it or begin another one."""
    properties = {"file": file, "line": None if line is None else str(line), "title": title or None}
    listed = ",".join(f"{key}={_property(value)}" for key, value in properties.items() if value is not None)
    return f"::{kind}{f' {listed}' if listed else ''}::{_data(message)}"


def annotations_of(
    result: Result, file: str | None, lines: Mapping[str, int], room: int = LIMIT
) -> list[str]:
    """Return the commands that show a verdict: one for the whole, then one for each task that is worse.

    Parameters
    ----------
    result : Result
    file : str or None
        gate.yml, relative to the repository's root.
    lines : mapping of str to int
        Line of each task in it, from 1.
    room : int
        Most commands of one kind.

    Returns
    -------
    list of str
        Commands to print, each on its own line. Errors for FAIL, warnings for INCONCLUSIVE, a notice for PASS.
    """
    kind: Kind = {"FAIL": "error", "INCONCLUSIVE": "warning"}.get(result.verdict, "notice")  # type: ignore[assignment]
    title = f"quantgate: {result.verdict}"
    whole = " ".join([*result.reasons, f"({words.headline(result)})"])
    commands = [annotation(kind, whole, title, file, 1 if file else None)]
    if result.verdict != "FAIL":
        return commands
    worse = sorted(
        (task for task in result.tasks if task.p_holm is not None and task.p_holm <= result.alpha),
        key=lambda task: (task.p_holm, -task.drop),
    )
    shown = worse if len(worse) < room else worse[: room - 2]
    for task in shown:
        place = file if task.task in lines else None
        title = f"quantgate: {task.task} is worse"
        commands.append(
            annotation("error", _worse(task), title, place, lines.get(task.task) if place else None)
        )
    if len(worse) > len(shown):
        commands.append(
            annotation("error", f"{len(worse) - len(shown)} more tasks are worse; see the report.")
        )
    return commands


def relative_file(path: Path | None, workspace: Path | None) -> str | None:
    """Return a file's path from the repository's root, as annotations want it; None where it lies elsewhere."""
    if path is None:
        return None
    root = (workspace or Path.cwd()).resolve()
    try:
        return path.resolve().relative_to(root).as_posix()
    except ValueError:
        return None


@contextmanager
def group(title: str) -> Iterator[None]:
    """Fold what is printed inside in the log."""
    click.echo(f"::group::{_data(title)}")
    try:
        yield
    finally:
        click.echo("::endgroup::")


def _worse(task: TaskResult) -> str:
    return (
        f"{words.percent(task.baseline)} to {words.percent(task.candidate)}, drop {words.drop_cell(task)} points; "
        f"{task.regressions} answers worse, {task.improvements} better of {task.n:,}; {task.test}, Holm p = "
        f"{words.p_value(task.p_holm)}."
    )


def _data(text: str) -> str:
    return log_line(text, 1000).replace("%", "%25")


def _property(text: str) -> str:
    return log_line(text, 200).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
