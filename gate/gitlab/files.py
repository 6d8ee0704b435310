"""Files for GitLab: the code-quality report, JUnit XML, and variables for later jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from pydantic import JsonValue

from gate.common.files import write_text
from gate.decision import wording
from gate.report.candidates import AnyResult, CandidatesResult
from gate.report.candidates_rows import headline, reasons
from gate.report.escape import one_line
from gate.report.junit import render_junit
from gate.report.result import Result

CODE_QUALITY = "gl-code-quality-report.json"
JUNIT = "gate-junit.xml"
VARIABLES = "gate.env"
"""Names of the files, in the folder of the project; examples/gitlab-ci.yml names them too."""
_TEXT = 500  # characters of a description
_VALUE = 500  # characters of a variable; GitLab refuses files above 5 KB


def write_variables(folder: Path, outputs: Mapping[str, str]) -> None:
    """Write the outputs as variables for `artifacts: reports: dotenv`: GATE_VERDICT, GATE_P_VALUE, ...

    Outputs that are JSON are left out: GitLab limits the size of the file.
    """
    lines = [
        f"GATE_{name.replace('-', '_').upper()}={one_line(text, _VALUE)}\n"
        for name, text in outputs.items()
        if name not in ("json", "candidates")
    ]
    write_text(folder / VARIABLES, "".join(lines))


def write_reports(
    folder: Path, result: AnyResult, name: str, file: str | None, lines: Mapping[str, int], report_only: bool
) -> None:
    """Write the code-quality report and JUnit XML.

    Parameters
    ----------
    folder : Path
        The folder of the project.
    name : str
        Name of the gate.
    file : str or None
        gate.yml, relative to the project.
    lines : mapping of str to int
        Line of each task in gate.yml, from 1.
    """
    issues = list(code_quality(result, name, file, lines, report_only))
    write_text(folder / CODE_QUALITY, json.dumps(issues, indent=1, ensure_ascii=False) + "\n")
    write_text(folder / JUNIT, render_junit(result))


def code_quality(
    result: AnyResult, name: str, file: str | None, lines: Mapping[str, int], report_only: bool
) -> Iterator[dict[str, JsonValue]]:
    """Yield the findings in GitLab's format, a subset of Code Climate's.

    One finding for a verdict other than PASS, and one for each task (or candidate) that fails. The fingerprint of a
    finding depends on its place alone, so that GitLab recognises it in the next run.
    """
    path = file or "gate.yml"
    severity = "major" if report_only else "critical"
    if isinstance(result, CandidatesResult):
        if result.verdict != "PASS" or result.unevaluated:
            yield _issue(f"{result.verdict}: {headline(result)}.", name, "verdict", severity, path, 1)
        broken = {*(one.name for one in result.failed), *(one.name for one in result.unevaluated)}
        for candidate, text in reasons(result):
            if candidate in broken:
                yield _issue(f"{candidate}: {text}", name, f"candidate {candidate}", severity, path, 1)
        return
    if result.verdict != "PASS":
        worst = severity if result.verdict == "FAIL" or result.blocks else "minor"
        yield _issue(f"{result.verdict}: {' '.join(result.reasons)}", name, "verdict", worst, path, 1)
    yield from (_task_issue(result, task.task, name, severity, path, lines) for task in result.failed_tasks)


def _task_issue(
    result: Result, task: str, name: str, severity: str, path: str, lines: Mapping[str, int]
) -> dict[str, JsonValue]:
    (row,) = [one for one in result.tasks if one.task == task]
    text = f"{task} is worse: {wording.task_summary(result, row)}"
    return _issue(text, name, f"task {task}", severity, path, lines.get(task, 1))


def _issue(text: str, name: str, place: str, severity: str, path: str, line: int) -> dict[str, JsonValue]:
    return {
        "description": one_line(text, _TEXT),
        "check_name": f"quantgate/{name}",
        "fingerprint": sha256(f"quantgate\n{name}\n{place}".encode()).hexdigest(),
        "severity": severity,
        "location": {"path": path, "lines": {"begin": line}},
    }
