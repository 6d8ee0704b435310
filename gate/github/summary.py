"""The job summary: the report on the workflow run's page."""

from __future__ import annotations

from pathlib import Path

from gate.report.markdown import render_markdown
from gate.report.result import Result

SUMMARY_LIMIT = 1024 * 1024
"""GitHub's limit of a step's summary, in bytes; it drops a longer one whole."""


def append_summary(
    path: Path, result: Result, name: str | None = None, report_url: str | None = None
) -> bool:
    """Append the report to the step's summary, as much of it as there is room for.

    Parameters
    ----------
    path : Path
        The file that `GITHUB_STEP_SUMMARY` names.
    result : Result
    name : str, optional
        Of the gate, shown in the title.
    report_url : str, optional
        Where the whole report is, for what is left out.

    Returns
    -------
    bool
        False where what is there already leaves no room.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    room = SUMMARY_LIMIT - (path.stat().st_size if path.exists() else 0) - 2
    try:
        text = render_markdown(result, limit=room, full_report=report_url, name=name)
    except ValueError:
        return False
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(f"\n{text}\n")
    return True
