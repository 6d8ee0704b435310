"""The HTML page on several candidates: one table, and plots of the drop against size and speed where they are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from markupsafe import Markup

from gate.report import candidates_rows
from gate.report.candidates import CandidateResult, CandidatesResult
from gate.report.figures import Scale
from gate.report.page import asset, content_security_policy, environment

_WIDTH, _HEIGHT = 18.0, 10.0  # room that the name of a point takes, in percent of the plot
_STYLE = """
.candidates .area{height:270px}
.candidates .PASS{fill:light-dark(#0b6e5f,#63dcc3)}
.candidates .FAIL{fill:light-dark(#b03a0b,#ff9a66)}
.candidates .INCONCLUSIVE{fill:light-dark(#7d5800,#f3c755)}
table.candidates-table td.left,table.candidates-table thead th.left{text-align:left}
table.candidates-table th{white-space:nowrap}
.hero p.note{margin-top:16px}
.candidates-table td.FAIL{color:light-dark(#b03a0b,#ff9a66);font-weight:600}
"""


@dataclass(frozen=True)
class Point:
    """A candidate in a plot; positions are percentages from the left and from the top.

    `below` puts the name below the point, where it would cover another one above.
    """

    name: str
    verdict: str
    x: float
    y: float
    title: str
    below: bool = False


@dataclass(frozen=True)
class Plot:
    """The drop against another property: its title and unit, marks on both axes (position, label), and the points."""

    key: str
    title: str
    axis: str
    x_marks: list[tuple[float, str]]
    y_marks: list[tuple[float, str]]
    zero: float
    points: list[Point]


def render_candidates_html(result: CandidatesResult, pages: Mapping[str, str] | None = None) -> str:
    """Return the page as one HTML document without script, which loads nothing.

    Parameters
    ----------
    pages : mapping of str to str, optional
        Addresses of the reports on single candidates, by name.
    """
    style = asset("report.css") + _STYLE
    return environment().get_template("candidates.html.j2").render(
        style=Markup(style),  # noqa: S704 - our own
        policy=content_security_policy(style),
        r=result,
        rows=candidates_rows.rows(result),
        headline=candidates_rows.headline(result),
        caption=candidates_rows.caption(result),
        speed_caption=candidates_rows.SPEED_CAPTION,
        reasons=candidates_rows.reasons(result),
        warnings=candidates_rows.warnings(result),
        pages=pages or {},
        plots_of=_plots(result),
        commands=_lines(result.provenance.get("reproduce")),
    )  # fmt: skip


def _lines(value: object) -> list[str]:
    return [str(line) for line in value] if isinstance(value, list) else []


def _plots(result: CandidatesResult) -> list[Plot]:
    shown = [one for one in result.candidates if candidates_rows.in_points(one.result)]
    plots = [
        _plot(shown, "size", "Drop against size", "weights on disk, MB", lambda one: _millions(one.weights_bytes)),
        _plot(shown, "speed", "Drop against speed", "tokens per second", lambda one: one.tokens_per_second),
    ]
    return [plot for plot in plots if plot is not None]


def _millions(count: int | None) -> float | None:
    return None if count is None else count / 1e6


def _plot(
    candidates: list[CandidateResult], key: str, title: str, axis: str, value: Callable[[CandidateResult], float | None]
) -> Plot | None:
    """Return the plot of the candidates whose value is known; None for fewer than two."""
    known = [(one, number) for one in candidates if (number := value(one)) is not None]
    if len(known) < 2:
        return None
    drops = [one.result.drop for one, _ in known]
    pad = 0.12 * (max(0.0, *drops) - min(0.0, *drops)) or 0.005
    y = Scale(min(0.0, *drops) - pad, max(0.0, *drops) + pad)
    x = Scale(0.0, 1.15 * max(number for _, number in known))
    return Plot(
        key,
        title,
        axis,
        [(x.at(tick), f"{tick:,.4g}") for tick in x.ticks(6)],
        [(100 - y.at(tick), f"{round(100 * tick, 6):g}") for tick in y.ticks(5)],
        100 - y.at(0.0),
        _apart(
            Point(
                one.name,
                one.result.verdict,
                x.at(number),
                100 - y.at(one.result.drop),
                f"{one.name}: {one.result.verdict}, drop {candidates_rows.drop(one.result)} points, "
                f"{_rounded(number)} {axis}",
            )
            for one, number in known
        ),
    )


def _apart(points: Iterable[Point]) -> list[Point]:
    """Return the points with the names of neighbours on different sides."""
    placed: list[Point] = []
    for point in points:
        near = [one for one in placed if abs(one.x - point.x) < _WIDTH and abs(one.y - point.y) < _HEIGHT]
        placed.append(replace(point, below=any(not one.below for one in near)))
    return placed


def _rounded(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}" if math.isfinite(number) else "-"
