"""The past runs of a store: table, JSON lines, badge. The HTML page is in `gate.report.history_html`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import accumulate

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gate.decision.wording import count, number, p_equation, p_value, percent, points
from gate.report.escape import log_line
from gate.store.history import Record, runs_of

_COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}
_BADGE_COLOURS = {"PASS": "brightgreen", "FAIL": "red", "INCONCLUSIVE": "yellow"}


def print_history(records: Sequence[Record], console: Console) -> None:
    """Print a table, newest run last."""
    several_series = len({record.series for record in records}) > 1
    table = Table()
    for name in (["Series"] if several_series else []) + ["Time (UTC)", "Verdict"]:
        table.add_column(name)
    for name in ("Drop, points", "Flips", "p", "Alpha", "Spent"):
        table.add_column(name, justify="right")
    named = any(record.name for record in records)
    for name in (["Name"] if named else []) + ["Candidate"]:
        table.add_column(name)
    for record, spent in zip(records, alpha_spent(records), strict=True):
        cells = [record.series[:8]] if several_series else []
        cells += [record.time[:16].replace("T", " ")]
        table.add_row(
            *map(log_line, cells),
            Text(log_line(record.verdict), style=_COLOURS.get(record.verdict, "")),
            points(record.drop),
            percent(record.flip_rate),
            p_value(record.p_value),
            number(record.alpha),
            number(spent),
            *([log_line(record.name or "-")] if named else []),
            log_line(record.candidate[:12]),
        )
    console.print(table)
    runs = runs_of(records)
    fails = sum(any(record.verdict == "FAIL" for record in run) for run in runs)
    console.print(
        f"{count(len(runs), 'run')}, {fails} FAIL. If no candidate had been worse, at most "
        f"{number(alpha_spent(records)[-1])} false alarms of the tests would be expected."
    )


def alpha_spent(records: Sequence[Record]) -> list[float]:
    """Return the sum of the levels up to each run: an upper bound of the expected number of false alarms.

    The candidates of one run share its level. With e-values, a run counts alpha / planned runs (see
    `gate.decision.nightly`).
    """
    later = {id(record) for run in runs_of(records) for record in run[1:]}
    return list(
        accumulate(
            0.0 if id(record) in later else record.alpha / (record.evidence.planned_runs if record.evidence else 1)
            for record in records
        )
    )


def render_history_lines(records: Sequence[Record]) -> str:
    """Return JSON lines: the records as the store keeps them, with the alpha spent up to each."""
    return "".join(
        json.dumps(record.model_dump() | {"alpha_spent": spent}) + "\n"
        for record, spent in zip(records, alpha_spent(records), strict=True)
    )


def render_badge(records: Sequence[Record]) -> str:
    """Return the last run as a shields.io endpoint file (https://shields.io/badges/endpoint-badge)."""
    last = records[-1]
    badge = {
        "schemaVersion": 1,
        "label": "quantgate",
        "message": f"{last.verdict}, drop {points(last.drop)} points, {p_equation(last.p_value)}",
        "color": _BADGE_COLOURS.get(last.verdict, "lightgrey"),
        "isError": last.verdict == "FAIL",
    }
    return json.dumps(badge) + "\n"
