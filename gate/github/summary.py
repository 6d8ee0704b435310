"""The job summary: the report on the page of the workflow run."""

from __future__ import annotations

from pathlib import Path

from gate.report.candidates import AnyResult
from gate.report.candidates_markdown import markdown_of

SUMMARY_LIMIT = 1024 * 1024
"""GitHub's limit for a step's summary, in bytes. A longer summary is dropped whole."""


def append_summary(path: Path, result: AnyResult, name: str | None = None, report_url: str | None = None) -> bool:
    """Append the report to the step's summary, shortened to the space that is left; return False if there is none.

    Parameters
    ----------
    path : Path
        The file in `GITHUB_STEP_SUMMARY`.
    name : str, optional
        Name of the gate, shown in the title.
    report_url : str, optional
        Address of the full report, linked where rows are left out.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    space = SUMMARY_LIMIT - (path.stat().st_size if path.exists() else 0) - 2
    try:
        text = markdown_of(result, limit=space, full_report=report_url, name=name)
    except ValueError:
        return False
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(f"\n{text}\n")
    return True
