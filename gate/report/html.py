"""The HTML report: one file that opens anywhere, asks nothing of the network, and reads without JavaScript."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from gate.report import figures, words
from gate.report.curves import PowerCurves, power_curves
from gate.report.detail import EDGES, PER_DECADE, Detail, Histogram, detail_of_result
from gate.report.escape import one_line
from gate.report.page import asset, environment, hash_source
from gate.report.payload import Payload, flips_payload, script_json
from gate.report.result import Result

RULES = {
    "pooled": "exact McNemar, pooled over the tasks",
    "max": "largest standardised drop",
    "fisher": "Fisher's combination",
    "holm": "smallest Holm-adjusted p",
    "omnibus": "pooled, max and Fisher under their joint null",
}
_SETS = "sets"  # the part of a side that speaks of each task


def render_html(result: Result, detail: Detail | None = None) -> str:
    """Return the report as one HTML document.

    Parameters
    ----------
    result : Result
    detail : Detail, optional
        From `build_detail`, where the samples are at hand; without it the report shows the flips that the result
        holds, and says that the others need the samples.

    Returns
    -------
    str
        All text of models and tasks is escaped or stands in inert JSON; scripts and styles are allowed by their
        hashes only, and nothing may be loaded.
    """
    shown = detail or detail_of_result(result)
    payload = flips_payload(shown)
    curves = power_curves(result)
    style, script = asset("report.css"), asset("report.js")
    return environment().get_template("report.html.j2").render(
        r=result,
        style=Markup(style),  # noqa: S704 - our own files, as they are shipped
        script=Markup(script),  # noqa: S704
        policy=f"default-src 'none'; script-src '{hash_source(script)}'; style-src '{hash_source(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'",
        data=Markup(_data(curves, shown.histograms)),  # noqa: S704 - escaped for a script element
        payload=payload,
        payload_text=Markup(payload.text),  # noqa: S704
        detail=shown,
        cut=_cut(shown, payload),
        kl=any(task.kl_mean is not None for task in result.tasks),
        tests=" and ".join(sorted({task.test for task in result.tasks})),
        rules=RULES,
        p_decides=_p(result),
        provenance=_provenance(result),
        **_plots(result, curves, shown),
    )  # fmt: skip


def _plots(result: Result, curves: PowerCurves | None, detail: Detail) -> dict[str, Any]:
    certify = result.certification.margin if result.certification else None
    pooled = figures.pooled(result)
    return {
        "drops": figures.drop_scale(result.tasks, figures.drop_lines(result)),
        "drop_scale": figures.drop_scale,
        "certify": certify,
        "pooled": pooled,
        "curves": curves,
        "power": curves and figures.power_scale(curves),
        "bars": figures.pooled_bars(detail.histograms),
        "polyline": figures.polyline,
        "edge": figures.edge,
        "decade": figures.decade,
        "per_decade": PER_DECADE,
        "scale": figures.Scale,
    }


def _data(curves: PowerCurves | None, histograms: tuple[Histogram, ...]) -> str:
    """Return what the plots are drawn from when the reader chooses a task."""
    bars = figures.pooled_bars(histograms)
    cut = slice(bars.first, bars.last) if bars else slice(0)
    return script_json(
        {
            "power": curves
            and {
                "drops": [round(drop, 7) for drop in curves.drops],
                "decision": [round(chance, 5) for chance in curves.decision],
                "tasks": [
                    [one_line(name), [round(chance, 5) for chance in own]]
                    for name, own in curves.tasks.items()
                ],
            },
            "kl": bars
            and {
                "edges": EDGES[bars.first : bars.last + 1],
                "tasks": [
                    [one_line(one.task), list(one.counts[cut]), list(one.flipped[cut])] for one in histograms
                ],
            },
        }
    )


def _cut(detail: Detail, payload: Payload) -> str:
    """Say what of the flips is not in the file."""
    missing = sum(detail.totals.values()) - payload.flips
    if missing <= 0:
        return ""
    if not detail.whole:
        return (
            f"This page was made from result.json alone, which holds the {payload.flips:,} worst of them. "
            "The others need the samples: make the page with gate compare or gate run."
        )
    return f"The {payload.flips:,} worst are here; {missing:,} more are left out to keep the file small."


def _p(result: Result) -> str:
    """Return the deciding p-value; a bound where no Monte-Carlo draw was as extreme."""
    draws = result.aggregate.omnibus.draws if result.rule == "omnibus" else 0
    bound = draws > 0 and result.p_value * (draws + 1) < 1.5
    return f"{'≤ ' if bound else ''}{words.p_value(result.p_value)}"


def _provenance(result: Result) -> dict[str, Any]:
    """Return both sides' facts as rows: name, baseline's, candidate's, whole, so that every difference counts."""
    a, b = (dict(_flat(side)) for side in (result.baseline, result.candidate))
    rows = [(name, a.get(name, "-"), b.get(name, "-")) for name in dict.fromkeys([*a, *b])]
    seconds = result.provenance.get("seconds")
    settings = result.provenance.get("decision")
    return {
        "main": [row for row in rows if not row[0].startswith(f"{_SETS}.")],
        "sets": [(name.removeprefix(f"{_SETS}."), x, y) for name, x, y in rows if name.startswith(f"{_SETS}.")],
        "settings": list(_flat(settings)) if isinstance(settings, Mapping) else [],
        "seconds": seconds if isinstance(seconds, int | float) else None,
        "reproduce": _lines(result.provenance.get("reproduce")),
    }  # fmt: skip


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested facts as (dotted name, text)."""
    rows: list[tuple[str, str]] = []
    for key, one in value.items():
        name = one_line(f"{prefix}{key}")
        if isinstance(one, Mapping):
            rows += _flat(one, f"{name}.")
        elif isinstance(one, str):
            rows.append((name, one))
        else:
            rows.append((name, "-" if one is None else json.dumps(one, ensure_ascii=False)))
    return rows


def _lines(value: object) -> list[str]:
    return [one_line(str(line), 4000) for line in value] if isinstance(value, list) else []
