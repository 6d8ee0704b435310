"""The report on several candidates in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gate.report.candidates import CandidatesResult
from gate.report.candidates_rows import SPEED_CAPTION, caption, headline, reasons, rows, warnings
from gate.report.escape import log_line
from gate.report.terminal import COLOURS


def print_candidates(result: CandidatesResult, console: Console) -> None:
    """Print the verdict over all candidates, one table, and the reasons for each verdict."""
    label = log_line(str(result.baseline.get("label", "?")))
    console.print()
    console.print(
        Text(result.verdict, style=COLOURS[result.verdict]), Text(f"against {label}: {log_line(headline(result))}")
    )
    for name, text in warnings(result):
        console.print(Text(f"Warning: {name}: {log_line(text, 2000)}", style="bold yellow"))
    shown = rows(result)
    table = Table()
    table.add_column("candidate", overflow="fold")
    table.add_column("verdict")
    for title in ("drop, points", "worse/better", "p", "p alone"):
        table.add_column(title, justify="right")
    optional = [("weights", "size"), ("tokens/s", "speed")]
    optional = [(title, field) for title, field in optional if getattr(shown[0], field)]
    for title, _ in optional:
        table.add_column(title, justify="right")
    for row in shown:
        table.add_row(
            row.name,
            Text(row.verdict, style=COLOURS[row.verdict]),
            row.drop,
            row.flips,
            row.p,
            row.p_alone,
            *(getattr(row, field) for _, field in optional),
        )
    console.print(table)
    for name, text in reasons(result):
        console.print(Text(f"{name}: {log_line(text, 2000)}"))
    console.print(Text(caption(result)))
    if shown[0].speed:
        console.print(Text(SPEED_CAPTION))
