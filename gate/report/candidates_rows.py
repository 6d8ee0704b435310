"""The rows of a table of candidates, and the sentences about them: the same in every report."""

from __future__ import annotations

from dataclasses import dataclass

from gate.decision import wording
from gate.decision.result import Decision
from gate.report.candidates import CandidateResult, CandidatesResult


@dataclass(frozen=True)
class Row:
    """One candidate as text; only `name` is safe in every format. `size` and `speed` are empty if unknown for all."""

    name: str
    model: str
    verdict: str
    drop: str
    flips: str
    p: str
    p_alone: str
    size: str
    speed: str


def rows(result: CandidatesResult) -> list[Row]:
    """Return one row per candidate, in the order of the result."""
    sized = any(candidate.weights_bytes for candidate in result.candidates)
    timed = any(candidate.tokens_per_second for candidate in result.candidates)
    return [_row(candidate, sized, timed) for candidate in result.candidates]


def _row(candidate: CandidateResult, sized: bool, timed: bool) -> Row:
    result = candidate.result
    gating = result.gating
    worse, better = sum(task.regressions for task in gating), sum(task.improvements for task in gating)
    speed = candidate.tokens_per_second
    return Row(
        candidate.name,
        str(result.candidate.get("label", "?")),
        result.verdict,
        drop(result),
        f"{worse:,}/{better:,}",
        wording.p_value(result.p_value, result.p_is_bound),
        wording.p_value(result.p_alone, result.p_is_bound),
        size(candidate.weights_bytes) if sized else "",
        ("-" if speed is None else f"{speed:,.0f}") if timed else "",
    )


def drop(decision: Decision) -> str:
    """Return the mean drop over the gating items in points; `-` where a score has another unit."""
    return wording.points(decision.drop) if in_points(decision) else "-"


def in_points(decision: Decision) -> bool:
    """Whether the mean drop over the gating items is a proportion."""
    return all(task.unit == "proportion" for task in decision.gating)


def size(count: int | None) -> str:
    """Return a number of bytes with three digits."""
    if count is None:
        return "-"
    value, units = float(count), ("B", "kB", "MB", "GB", "TB")
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {units[power]}"


def headline(result: CandidatesResult) -> str:
    """Return how many candidates have which verdict, and how much was compared."""
    verdicts = [candidate.result.verdict for candidate in result.candidates]
    counts = [f"{verdicts.count(name)} {name}" for name in ("PASS", "FAIL", "INCONCLUSIVE") if name in verdicts]
    if result.unevaluated:
        counts.append(f"{len(result.unevaluated)} not evaluated")
    judged = [candidate.result for candidate in result.candidates]
    items = list(dict.fromkeys(wording.headline(one) for one in sorted(judged, key=lambda one: -one.items)))
    compared = items[0] if len(items) == 1 else f"at most {items[0]}"
    return f"{wording.count(len(verdicts) + len(result.unevaluated), 'candidate')} ({', '.join(counts)}), {compared}"


def caption(result: CandidatesResult) -> str:
    """Say what the p-values are, and which probability alpha limits."""
    decision = result.candidates[0].result
    adjustment = decision.adjustment
    drops = "Drop: mean over the gating items, in points; positive if the candidate is worse. Worse/better: items."
    if adjustment is None:
        return drops
    method = (
        "Holm's method"
        if adjustment.method == "holm"
        else f"signs that all candidates share, step-down, {adjustment.draws:,} draws"
    )
    return (
        f"{drops} p is adjusted over the candidates ({method}): the probability of any false FAIL of the tests among "
        f"them is at most alpha = {result.alpha:g}. Limits on flips, drops and KL divergence are not included."
    )


SPEED_CAPTION = "Tokens/s: tokens read and generated per second; comparable only on an otherwise idle machine."


def reasons(result: CandidatesResult) -> list[tuple[str, str]]:
    """Return the name and the reasons of each candidate, in one sentence or more."""
    evaluated = [(candidate.name, " ".join(candidate.result.reasons)) for candidate in result.candidates]
    return evaluated + [(one.name, f"Not evaluated: {one.error}") for one in result.unevaluated]


def warnings(result: CandidatesResult) -> list[tuple[str, str]]:
    """Return the name of the candidate and the text of each warning about the evaluation itself."""
    return [
        (candidate.name, finding.message) for candidate in result.candidates for finding in candidate.result.warnings
    ]
