"""`gate doctor`: check this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from gate.doctor import Finding


@click.command()
@click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="Also check the models of this gate.yml.  [default: gate.yml if it exists]",
)
@click.option(
    "--engine",
    is_flag=True,
    help="Load the candidate and compare its scores with those of scoring each choice separately.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(config_path: Path | None, engine: bool, as_json: bool) -> int:
    """Check GPU, torch, memory, disk, hub access and GitHub token, and say what each means for `gate run`.

    Exits with 0, or with 4 if a problem would prevent a verdict. Without --engine it downloads and writes nothing. In
    GitHub Actions, it sends two invalid requests to GitHub to test what the token may write.
    """
    import json
    import os
    from dataclasses import asdict

    from gate.cli.console import Terminal
    from gate.doctor import examine
    from gate.errors import ExitCode

    if config_path is None and Path("gate.yml").is_file():
        config_path = Path("gate.yml")
    if engine and config_path is None:
        raise click.UsageError("--engine needs a gate.yml that names the candidate")
    findings = list(examine(config_path, os.environ, engine))
    code = ExitCode.EVALUATION if any(finding.state == "problem" for finding in findings) else ExitCode.PASS
    if as_json:
        data = {"findings": [asdict(finding) for finding in findings], "exit_code": int(code)}
        click.echo(json.dumps(data, indent=1))
    else:
        Terminal().out.print(_table(findings))
    return int(code)


def _table(findings: list[Finding]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from gate.report.escape import log_line

    table = Table(title="gate doctor", title_justify="left")
    for column in ("", "check", "finding and next step"):
        table.add_column(column)
    style = {"ok": "green", "warn": "yellow", "problem": "bold red"}
    for finding in findings:
        text = Text(log_line(finding.text, 2000))
        if finding.remedy is not None and finding.state != "ok":
            text.append(f"\n-> {log_line(finding.remedy, 2000)}", style="italic")
        table.add_row(Text(finding.state, style=style[finding.state]), finding.what, text)
    return table
