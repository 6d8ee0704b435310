"""The past runs of a store as one HTML page, without script, which loads nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from gate.report.figures import Scale
from gate.report.history import alpha_spent
from gate.report.page import asset, content_security_policy, environment
from gate.store.history import Record

_STYLE = """
.hero .says{padding-bottom:26px}
.history .area{height:250px}
.history path.line{fill:none;stroke:var(--edge);stroke-width:1.5;vector-effect:non-scaling-stroke}
.history .level{stroke:var(--worse);stroke-width:1.5;stroke-dasharray:6 4}
.history .PASS{fill:light-dark(#0b6e5f,#63dcc3)}
.history .FAIL{fill:light-dark(#b03a0b,#ff9a66)}
.history .INCONCLUSIVE{fill:light-dark(#7d5800,#f3c755)}
.history-table td.left{text-align:left}
"""


def render_history_html(records: Sequence[Record]) -> str:
    """Return the page for at least one run, oldest first; the shape of a point in the plots is the verdict."""
    style = asset("report.css") + _STYLE
    drops = [record.drop for record in records]
    padding = 0.1 * (max(0.0, *drops) - min(0.0, *drops)) or 0.005
    # guards against log(0); the p-value of a Monte-Carlo test is at least 1e-8
    logs = [math.log10(max(record.p_value, 1e-20)) for record in records]
    levels = [math.log10(record.alpha) for record in records]
    lowest = math.floor(min(logs + levels) - 0.2)
    verdicts = [record.verdict for record in records]
    return environment().get_template("history.html.j2").render(
        style=Markup(style),  # noqa: S704 - our own
        policy=content_security_policy(style),
        records=records,
        spent=alpha_spent(records),
        last=records[-1],
        counts={name: verdicts.count(name) for name in ("PASS", "FAIL", "INCONCLUSIVE")},
        series=list(dict.fromkeys(record.series for record in records)),
        x=Scale(-0.5, len(records) - 0.5),
        drop=Scale(min(0.0, *drops) - padding, max(0.0, *drops) + padding),
        p=Scale(lowest, 0.0),
        logs=logs,
        levels=levels,
        decades=range(lowest, 1, max(1, -lowest // 6)),
        marks=_marks(records),
    )  # fmt: skip


def _marks(records: Sequence[Record]) -> list[tuple[int, str]]:
    """Return the dates on the time axis, by index of the run: the first run of each month, or a few evenly spaced."""
    months = [0, *(index for index, (a, b) in enumerate(pairwise(records), 1) if a.time[:7] != b.time[:7])]
    step = max(1, math.ceil(len(records) / 6))
    # a first month with few runs: its label would overlap the next one
    months = months[1:] if len(months) > 3 and months[1] < len(records) / 10 else months
    monthly = 3 <= len(months) <= 14
    indices = months if monthly else range(0, len(records), step)
    return [(index, records[index].time[: 7 if monthly else 10]) for index in indices]
