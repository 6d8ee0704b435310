"""The HTML report: one file that opens anywhere, loads nothing from the network, and works without JavaScript."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from gate.report import figures
from gate.report.curves import PowerCurves, power_curves
from gate.report.detail import BINS_PER_DECADE, EDGES, Detail, Histogram, detail_of_result
from gate.report.escape import one_line, script_json
from gate.report.page import asset, content_security_policy, environment
from gate.report.payload import Payload, flips_payload
from gate.report.result import Result

_SETS = "sets"  # key of the facts per task in the facts of a model


def render_html(result: Result, detail: Detail | None = None) -> str:
    """Return the report as one HTML document.

    All text of models and tasks is escaped or inside inert JSON. The page's policy allows the script and the style by
    their hashes only, and loads nothing.

    Parameters
    ----------
    result : Result
    detail : Detail, optional
        From `build_detail`, where the samples are available. Without it, the report has only the flips of the result,
        and says so.
    """
    shown = detail or detail_of_result(result)
    payload = flips_payload(shown)
    curves = power_curves(result)
    bars = figures.pooled_bars(shown.histograms)
    style, script = asset("report.css"), asset("report.js")
    return environment().get_template("report.html.j2").render(
        r=result,
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704
        policy=content_security_policy(style, script),
        data=Markup(_plot_data(curves, bars, shown.histograms)),  # noqa: S704 - escaped for a script element
        payload=payload,
        payload_text=Markup(payload.text),  # noqa: S704
        detail=shown,
        omitted=_omitted(shown, payload),
        kl=any(task.kl_mean is not None for task in result.tasks),
        provenance=_provenance(result),
        drops=figures.drop_scale(result.tasks, figures.drop_lines(result)),
        drop_scale=figures.drop_scale,
        certify=result.certification.margin if result.certification else None,
        pooled=figures.pooled(result),
        curves=curves,
        power=curves and figures.Scale(0.0, curves.drops[-1]),
        bars=bars,
        polyline=figures.polyline,
        edges=EDGES,
        decade=figures.decade,
        bins_per_decade=BINS_PER_DECADE,
        scale=figures.Scale,
    )  # fmt: skip


def _plot_data(curves: PowerCurves | None, bars: figures.Bars | None, histograms: tuple[Histogram, ...]) -> str:
    """Return the data of the plots of single tasks, which the reader selects."""
    bins = slice(bars.first, bars.last) if bars else slice(0)
    return script_json(
        {
            "power": curves
            and {
                "drops": [round(drop, 7) for drop in curves.drops],
                "decision": [round(chance, 5) for chance in curves.decision],
                "tasks": [[one_line(name), [round(chance, 5) for chance in own]] for name, own in curves.tasks.items()],
            },
            "kl": bars
            and {
                "edges": EDGES[bars.first : bars.last + 1],
                "tasks": [
                    [one_line(histogram.task), list(histogram.counts[bins]), list(histogram.flipped[bins])]
                    for histogram in histograms
                ],
            },
        }
    )


def _omitted(detail: Detail, payload: Payload) -> str:
    """Say which flips are not in the file."""
    missing = sum(detail.totals.values()) - payload.flips
    if missing <= 0:
        return ""
    if not detail.from_samples:
        return (
            f"This page was made from result.json alone, which lists {payload.flips:,} regressions. "
            "To see all, make the page with gate compare or gate run, which have the samples."
        )
    listed = f"This page lists {payload.flips:,} flips, regressions first"
    return f"{listed}; {missing:,} more are omitted to limit the file size."


def _provenance(result: Result) -> dict[str, Any]:
    """Return the facts about both models as rows (name, baseline, candidate), not shortened, and the settings."""
    a, b = (dict(_flat(side)) for side in (result.baseline, result.candidate))
    rows = [(name, a.get(name, "-"), b.get(name, "-")) for name in dict.fromkeys([*a, *b])]
    settings = result.provenance.get("decision")
    return {
        "main": [row for row in rows if not row[0].startswith(f"{_SETS}.")],
        "sets": [(name.removeprefix(f"{_SETS}."), x, y) for name, x, y in rows if name.startswith(f"{_SETS}.")],
        "settings": list(_flat(settings)) if isinstance(settings, Mapping) else [],
        "seconds": result.seconds,
        "reproduce": [one_line(line, 4000) for line in result.commands],
    }  # fmt: skip


def _flat(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested facts as rows (dotted name, text)."""
    rows: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = one_line(f"{prefix}{key}")
        if isinstance(value, Mapping):
            rows += _flat(value, f"{name}.")
        elif isinstance(value, str):
            rows.append((name, value))
        else:
            rows.append((name, "-" if value is None else json.dumps(value, ensure_ascii=False)))
    return rows
