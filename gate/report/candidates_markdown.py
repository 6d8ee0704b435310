"""The Markdown report on several candidates: one table, then the report on each candidate, folded."""

from __future__ import annotations

from gate.report.candidates import AnyResult, CandidateResult, CandidatesResult
from gate.report.candidates_rows import SPEED_CAPTION, caption, headline, reasons, rows, warnings
from gate.report.escape import markdown, prose
from gate.report.markdown import SIGNS, is_address, render_markdown

_TEXT = 500  # characters of a reason
_LEAST = 2_000  # bytes of a single report; less would say little


def markdown_of(
    result: AnyResult, limit: int | None = None, full_report: str | None = None, name: str | None = None
) -> str:
    """Return the Markdown report on one or several candidates; parameters and errors as for `render_markdown`."""
    if isinstance(result, CandidatesResult):
        return render_candidates_markdown(result, limit, full_report, name)
    return render_markdown(result, limit, full_report, name)


def render_candidates_markdown(
    result: CandidatesResult, limit: int | None = None, full_report: str | None = None, name: str | None = None
) -> str:
    """Return the report on several candidates as GitHub Markdown; parameters and errors as for `render_markdown`.

    Within a limit, the reports on single candidates are shortened, those that failed last.
    """
    if full_report is not None and not is_address(full_report):
        raise ValueError(f"not an address that can be linked: {full_report!r}")
    head = _overview(result, name)
    tail = f"\n[Full report and log]({full_report})\n" if full_report else ""
    if limit is None:
        return head + "".join(_folded(one, render_markdown(one.result)) for one in result.candidates) + tail
    left = limit - len((head + tail).encode()) - _LEAST // 2
    if left < 0:
        raise ValueError(f"the report needs more than {limit} bytes even without the single candidates")
    parts: dict[str, str] = {}
    omitted = []
    order = [*result.failed, *(one for one in result.candidates if one not in result.failed)]
    for position, one in enumerate(order):
        part = _shortened(one, left // (len(order) - position)) or _shortened(one, left)
        if part is None:
            omitted.append(one.name)
            continue
        parts[one.name] = part
        left -= len(part.encode())
    if omitted:
        tail = f"\n**Omitted to fit GitHub's size limit: the reports on {', '.join(omitted)}.**\n{tail}"
    return head + "".join(parts[one.name] for one in result.candidates if one.name in parts) + tail


def _overview(result: CandidatesResult, name: str | None) -> str:
    title = "" if name in (None, "quantgate") else f" {markdown(name or '', 64)}"
    shown = rows(result)
    sized, timed = bool(shown[0].size), bool(shown[0].speed)
    lines = [
        f"## {SIGNS[result.verdict]} quantgate{title}: {result.verdict}",
        "",
        *(f"> **Warning.** {one}: {prose(text)}\n" for one, text in warnings(result)),
        f"Against baseline {markdown(str(result.baseline.get('label', '?')), 120)}: {headline(result)}.",
        "",
        "| Candidate | Model | Verdict | Drop, points | Worse/better | p | p alone |"
        f"{' Weights |' if sized else ''}{' Tokens/s |' if timed else ''}",
        f"|:--|:--|:--|--:|--:|--:|--:|{'--:|' if sized else ''}{'--:|' if timed else ''}",
    ]
    for row in shown:
        cells = [row.name, markdown(row.model, 80), f"{SIGNS[row.verdict]} {row.verdict}", row.drop, row.flips, row.p]
        cells += [row.p_alone, *([row.size] if sized else []), *([row.speed] if timed else [])]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"| {one.name} | - | not evaluated |{' |' * (4 + sized + timed)}" for one in result.unevaluated]
    lines += ["", f"{caption(result)}{' ' + SPEED_CAPTION if timed else ''}", ""]
    lines += [f"* **{one}**: {prose(text, _TEXT)}" for one, text in reasons(result)]
    return "\n".join(lines) + "\n\n"


def _folded(one: CandidateResult, report: str) -> str:
    opened = " open" if one.result.verdict == "FAIL" else ""
    return f"<details{opened}>\n<summary>{one.name}: {one.result.verdict}</summary>\n\n{report}\n</details>\n\n"


def _shortened(one: CandidateResult, limit: int) -> str | None:
    """Return the report on one candidate in up to `limit` bytes; None if too little would be left of it."""
    space = limit - len(_folded(one, "").encode())
    if space < _LEAST:
        return None
    try:
        return _folded(one, render_markdown(one.result, limit=space))
    except ValueError:
        return None
