"""The runs of a store as one HTML page: the year at a glance. It has no script and loads nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from gate.report.figures import Scale
from gate.report.history import alpha_spent
from gate.report.page import asset, environment, hash_source
from gate.store.history import Record

_STYLE = """
.hero .says{padding-bottom:26px}
.nights .area{height:250px}
.nights path.line{fill:none;stroke:var(--edge);stroke-width:1.5;vector-effect:non-scaling-stroke}
.nights .level{stroke:var(--worse);stroke-width:1.5;stroke-dasharray:6 4}
.nights .PASS{fill:light-dark(#0b6e5f,#63dcc3)}
.nights .FAIL{fill:light-dark(#b03a0b,#ff9a66)}
.nights .INCONCLUSIVE{fill:light-dark(#7d5800,#f3c755)}
.nights-table td.left{text-align:left}
"""


def render_history_html(records: Sequence[Record]) -> str:
    """Return the page.

    Parameters
    ----------
    records : sequence of Record
        Oldest first; at least one. Plots are over the runs in this order, the points' shapes tell the verdicts.
    """
    style = asset("report.css") + _STYLE
    count = len(records)
    runs = Scale(-0.5, count - 0.5)
    drops = [record.drop for record in records]
    room = 0.1 * (max(0.0, *drops) - min(0.0, *drops)) or 0.005
    # no run has a p-value of 0; a Monte-Carlo one is at least 1e-8
    logs = [math.log10(max(record.p_value, 1e-20)) for record in records]
    levels = [math.log10(record.alpha) for record in records]
    lowest = math.floor(min(logs + levels) - 0.2)
    spent = alpha_spent(records)
    return environment().get_template("history.html.j2").render(
        style=Markup(style),  # noqa: S704 - our own
        policy=f"default-src 'none'; style-src '{hash_source(style)}'; img-src data:; base-uri 'none'; "
        "form-action 'none'",
        records=records,
        spent=spent,
        last=records[-1],
        counts={name: sum(one.verdict == name for one in records) for name in ("PASS", "FAIL", "INCONCLUSIVE")},
        series=list(dict.fromkeys(record.series for record in records)),
        x=runs,
        drop=Scale(min(0.0, *drops) - room, max(0.0, *drops) + room),
        p=Scale(lowest, 0.0),
        logs=logs,
        levels=levels,
        decades=range(lowest, 1, max(1, -lowest // 6)),
        marks=_marks(records),
    )  # fmt: skip


def _marks(records: Sequence[Record]) -> list[tuple[int, str]]:
    """Return the runs whose dates are written under the plots: the first of each month, or a few evenly spread."""
    months = [0, *(n for n, (a, b) in enumerate(pairwise(records), 1) if a.time[:7] != b.time[:7])]
    step = max(1, math.ceil(len(records) / 6))
    # the first run's month is cut off: its name could run into the next one's
    months = months[1:] if len(months) > 3 and months[1] < len(records) / 10 else months
    places = months if 3 <= len(months) <= 14 else list(range(0, len(records), step))
    return [(place, records[place].time[: 7 if places is months else 10]) for place in places]
