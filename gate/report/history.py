"""The runs of a store over time: table, JSON lines, badge. The HTML page is in `gate.report.history_html`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gate.report.escape import log_line
from gate.report.words import p_value, percent, points
from gate.store.history import Record

COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}
_BADGE_COLOURS = {"PASS": "brightgreen", "FAIL": "red", "INCONCLUSIVE": "yellow"}


def print_history(records: Sequence[Record], console: Console) -> None:
    """Print a table, newest run last."""
    several = len({record.series for record in records}) > 1
    table = Table()
    for name in (["Series"] if several else []) + ["Time (UTC)", "Verdict"]:
        table.add_column(name)
    for name in ("Drop, points", "Flips", "p", "Alpha", "Spent"):
        table.add_column(name, justify="right")
    table.add_column("Candidate")
    for record, spent in zip(records, alpha_spent(records), strict=True):
        cells = [record.series[:8]] if several else []
        cells += [record.time[:16].replace("T", " ")]
        table.add_row(
            *map(log_line, cells),
            Text(record.verdict, style=COLOURS.get(record.verdict, "")),
            points(record.drop),
            percent(record.flip_rate),
            p_value(record.p_value),
            f"{record.alpha:.3g}",
            f"{spent:.3g}",
            log_line(record.candidate[:12]),
        )
    console.print(table)
    fails = sum(record.verdict == "FAIL" for record in records)
    console.print(
        f"{len(records)} run(s), {fails} FAIL; if no candidate had been worse, the tests alone would have failed "
        f"{alpha_spent(records)[-1]:.3g} of them in expectation, at most."
    )


def alpha_spent(records: Sequence[Record]) -> list[float]:
    """Return the sum of the levels up to each run: the expected number of false alarms so far, at most."""
    total = 0.0
    sums = []
    for record in records:
        total += record.alpha
        sums.append(total)
    return sums


def render_history_lines(records: Sequence[Record]) -> str:
    """Return a JSON object a line, as the store keeps them, with the alpha spent so far."""
    return "".join(
        json.dumps(record.model_dump() | {"alpha_spent": spent}) + "\n"
        for record, spent in zip(records, alpha_spent(records), strict=True)
    )


def render_badge(records: Sequence[Record]) -> str:
    """Return the last run as a shields.io endpoint file (https://shields.io/badges/endpoint-badge)."""
    last = records[-1]
    return (
        json.dumps(
            {
                "schemaVersion": 1,
                "label": "quantgate",
                "message": f"{last.verdict}, drop {points(last.drop)} points, p {p_value(last.p_value)}",
                "color": _BADGE_COLOURS.get(last.verdict, "lightgrey"),
                "isError": last.verdict == "FAIL",
            }
        )
        + "\n"
    )
