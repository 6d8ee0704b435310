"""`gate run`: the main job."""

from __future__ import annotations

from pathlib import Path

import click

from gate.cli import bisect as git_bisect
from gate.cli import options


@click.command()
@options.config
@click.option("--force-baseline", is_flag=True, help="Evaluate the baseline even if it is cached.")
@click.option(
    "--json",
    "json_path",
    help="Also write result.json to this path; with -, print only the JSON to standard output.",
)
@git_bisect.option
@click.option("-q", "--quiet", is_flag=True, help="Print no progress messages and no flips.")
def command(config_path: Path, force_baseline: bool, json_path: str | None, bisect: bool, quiet: bool) -> int:
    """Evaluate the candidate, and the baseline unless it is cached, and compare them.

    Several candidates are compared with one evaluation of the baseline. Writes the report files that gate.yml names,
    and exits with the verdict's code.
    """
    from gate.app.report_files import ReportError, Reports
    from gate.app.run import run_any
    from gate.cli.console import Terminal
    from gate.common.files import write_text
    from gate.report.candidates import any_to_json

    reporter = Terminal(quiet, print_json=json_path == "-")
    try:
        result = run_any(config_path, force_baseline=force_baseline, reporter=reporter)
        reports = Reports(result)
    except ReportError as error:
        result = error.result
        reports = Reports(result, error)
    if json_path is not None and json_path != "-":
        with reports.attempt(json_path):
            write_text(Path(json_path), any_to_json(result))
    reports.check()
    return git_bisect.exit_code(result, bisect)
