"""How reports write numbers, tests and verdicts: every sentence about a decision is defined here, once."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from gate.decision.interval_wording import bounds as bounds
from gate.decision.interval_wording import interval_caption as interval_caption
from gate.decision.interval_wording import interval_name as interval_name
from gate.decision.result import Certification, Decision, Limit, TaskResult
from gate.decision.run_sections import EarlyStopping
from gate.decision.sensitivity import EXPECTED_FLIPS, expected_flip_rate
from gate.decision.series import NightlyEvidence

RULES = {
    "pooled": "drop pooled over the tasks",
    "max": "largest standardised drop",
    "fisher": "Fisher's combination of the tasks' p-values",
    "holm": "smallest Holm-adjusted p-value",
    "omnibus": "smallest of pooled, max and Fisher, under their joint null distribution",
}
"""What each rule tests, in the order in which reports list them."""
SMALLEST_P = 1e-300
"""Smaller p-values are written as this bound."""
_SHARES = {
    "max_flip_rate": "of the answers flipped",
    "max_truncated": "of the texts were stopped by their length",
    "max_broken": "of the texts are broken",
}
_UNNAMED_TEST = re.compile(r"(McNemar|permutation|Tango score)")  # labels without the word "test"


def percent(proportion: float) -> str:
    """Return a proportion as a percentage."""
    return f"{100 * proportion:.1f}%"


def points(drop: float) -> str:
    """Return a signed drop in percentage points."""
    return f"{100 * drop:+.2f}" if drop else "0.00"


def size(proportion: float) -> str:
    """Return a margin or a bound in percentage points, with the unit."""
    return f"{100 * proportion:.3g} point{'' if math.isclose(proportion, 0.01) else 's'}"


def level(task: TaskResult, score: float) -> str:
    """Return a mean score of a task: a percentage, or a number where its range is unknown."""
    return percent(score) if task.unit == "proportion" else f"{score:.4g}"


def change(task: TaskResult, drop: float) -> str:
    """Return a signed drop of a task: in percentage points, or in the score's own unit where its range is unknown."""
    if task.unit == "proportion":
        return points(drop)
    return f"{drop:+.3g}" if drop else "0"


def unit(task: TaskResult) -> str:
    """Return the unit of `change`."""
    return "points" if task.unit == "proportion" else "score units"


def drop_interval(task: TaskResult) -> str:
    """Return the drop and its 90% interval: in points, without the unit, or in score units."""
    low, high = task.drop_ci90
    text = f"{change(task, task.drop)} ({change(task, low)} to {change(task, high)})"
    return text if task.unit == "proportion" else f"{text} {unit(task)}"


def number(value: float | None) -> str:
    """Return a number with three significant digits; `-` where there is none."""
    return "-" if value is None else f"{value:.3g}"


def p_value(p: float | None, bound: bool = False) -> str:
    """Return a p-value; `bound` marks an upper bound. Numbers at the end of a float's range are bounds."""
    if p is not None and p <= SMALLEST_P:
        return f"≤ {SMALLEST_P:g}"
    return f"≤ {number(p)}" if bound else number(p)


def p_equation(p: float, bound: bool = False) -> str:
    """Return a p-value as an equation."""
    text = p_value(p, bound)
    return f"p {text}" if text.startswith("≤") else f"p = {text}"


def deciding_p(decision: Decision) -> str:
    """Return the p-value that decides, as an equation."""
    return p_equation(decision.p_value, decision.p_is_bound)


def aggregate_p(decision: Decision, rule: str) -> str:
    """Return the p-value of a rule over all gating tasks."""
    return p_value(getattr(decision.aggregate, rule).p, decision.aggregate.is_bound(rule))


def headline(decision: Decision) -> str:
    """Return how many tasks and items were compared."""
    return f"{count(len(decision.gating), 'task')}, {decision.items:,} paired items"


def test_names(decision: Decision) -> str:
    """Return the tests behind the p-values of the tasks, e.g. `the exact McNemar test`."""
    labels = sorted({task.test_label for task in decision.tasks})
    return " and ".join("the " + _UNNAMED_TEST.sub(r"\1 test", label) for label in labels)


def p_values(decision: Decision) -> str:
    """Return the caption of a table of tasks: the tests, the p-values over all gating tasks, and what decides."""
    return (
        f"The p-values are one-sided, from {test_names(decision)}. Over all gating tasks: "
        f"pooled {aggregate_p(decision, 'pooled')}, max {aggregate_p(decision, 'max')}, Fisher "
        f"{aggregate_p(decision, 'fisher')}, omnibus {aggregate_p(decision, 'omnibus')}. {interval_caption(decision)}"
    )


def task_summary(decision: Decision, task: TaskResult) -> str:
    """Return one task's scores, flips and p-values in one sentence."""
    holm = "" if task.p_holm is None else f", Holm {p_equation(task.p_holm, task.p_is_bound)}"
    return (
        f"{level(task, task.baseline)} to {level(task, task.candidate)}, drop {drop_interval(task)}"
        f"{' points' if task.unit == 'proportion' else ''}"
        f"{', not adjusted for the stop' if decision.stopped_early else ''}; "
        f"{task.regressions:,} regressions, {task.improvements:,} improvements in {task.n:,} items{_repeats(task)}; "
        f"{task.test_label} {p_equation(task.p_exact, task.p_is_bound)}{holm}."
    )


def _repeats(task: TaskResult) -> str:
    return "" if task.repeats == 1 else f" (means of {task.repeats} answers per item)"


def detectable_drop(decision: Decision) -> str:
    """Say what drop this run could have detected."""
    sensitivity = decision.sensitivity
    power = f"{100 * sensitivity.power:g}%"
    exact = all(task.test == "exact McNemar" for task in decision.gating) and not sensitivity.linked
    in_points = all(task.unit == "proportion" for task in decision.gating)
    if sensitivity.detectable_drop is None:
        worst = "every right answer is lost" if in_points else "every item has a lower score"
        text = f"Too few items: the power is below {power} even if {worst}."
    else:
        drop = f"{100 * sensitivity.detectable_drop:.2g} points" if in_points else number(sensitivity.detectable_drop)
        few = any(task.regressions + task.improvements < EXPECTED_FLIPS for task in decision.gating)
        flips = f"the observed flips{f' (at least {EXPECTED_FLIPS} per task)' if few else ''}"
        text = f"A true drop of {drop} on every task, on top of {flips}, is detected with {power} power"
        nightly_run = decision.spending is not None and decision.spending.evidence is not None
        text += " by this run alone" if nightly_run else ""
        text += "." if exact and not nightly_run else " (an approximation)."
    if decision.adjustment is not None and sensitivity.alpha is not None:
        text += (
            f" This holds for alpha divided by {decision.adjustment.candidates}, a conservative choice for p-values "
            "that are adjusted over the candidates."
        )
    if sensitivity.blind_tasks:
        names = ", ".join(sensitivity.blind_tasks)
        text += f" Tasks with too few flips to be significant, whatever their direction: {names}."
    return text


def spending(decision: Decision) -> str | None:
    """Say how alpha is spent over a series of runs; None without alpha spending."""
    spent = decision.spending
    if spent is None:
        return None
    if spent.evidence is not None:
        return (
            f"Run {spent.run} of its series ({count(spent.alarms, 'earlier alarm')}): {nightly(spent.evidence)}; an "
            f"alarm needs ln e = {-math.log(spent.level):.2f}. Guarantee: {spent.guarantee}."
        )
    return (
        f"Run {spent.run} of its series has alpha {number(spent.level)} ({spent.kind}, "
        f"{count(spent.alarms, 'earlier alarm')}): {spent.guarantee}."
    )


def nightly(evidence: NightlyEvidence) -> str:
    """Describe the evidence of a series of runs."""
    return (
        f"evidence of the series ln e = {evidence.log_evidence:.2f}, of this run alone {evidence.log_e_value:.2f}; run "
        f"{evidence.run_of_group} of {evidence.runs_per_group} planned against one baseline"
    )


def early_stop(decision: Decision) -> str | None:
    """Say what early stopping saved; None where it is off."""
    early = decision.early_stop
    if early is None:
        return None
    reached = evidence(early)
    if not early.stopped:
        return f"The stopping threshold was not reached ({reached}); all {early.total:,} items were evaluated."
    if early.items >= early.total:
        return f"The stopping threshold was reached at the last of {early.total:,} gating items ({reached})."
    saved = early.total - early.items
    return (
        f"Stopped after {early.items:,} of {early.total:,} gating items ({reached}); "
        f"{saved:,} items ({percent(saved / early.total)}) were saved."
    )


def margin(decision: Decision) -> str:
    """Return the tolerated drop."""
    return "per task" if decision.common_margin is None else size(decision.common_margin)


def requirements(decision: Decision) -> list[str]:
    """Return what the policy requires of single tasks and what was found, one line per task."""
    lines = []
    for task in decision.tasks:
        parts = []
        if task.margin is not None and task.margin != decision.margin:
            parts.append(f"margin {size(task.margin)}" if task.margin else "no margin")
        if task.certification is not None:
            proof = "proven" if task.certification.certified else "not proven"
            bound, p = size(task.certification.margin), p_equation(task.certification.p_value)
            parts.append(f"drop below {bound} {proof}, {p}")
        parts += [limit_found(task, own) + " (exceeded)" * own.exceeded for own in task.limits]
        if parts:
            advisory = " (advisory)" if task.role == "advisory" else ""
            lines.append(f"{task.task}{advisory}: {'; '.join(parts)}.")
    return lines


def limit_found(task: TaskResult, limit: Limit) -> str:
    """Compare the observed value of a task with a limit."""
    if limit.kind == "max_drop":
        return f"observed drop {points(limit.observed)} points, limit {size(limit.limit)}"
    if limit.kind == "min_recovery":
        return f"observed recovery {recovery(task)}, limit {_hundredths(limit.limit)}"
    if limit.kind in _SHARES:
        return f"{_hundredths(limit.observed)} {_SHARES[limit.kind]}, limit {_hundredths(limit.limit)}"
    return f"mean KL divergence {number(limit.observed)} nats, limit {limit.limit:g} nats"


def recovery(task: TaskResult) -> str:
    """Return the recovery of a task and its 90% interval; empty where it was not asked for."""
    if task.recovery is None:
        return ""
    low, high = task.recovery.ci90
    interval = "unbounded" if low is None or high is None else f"{_hundredths(low)} to {_hundredths(high)}"
    return f"{_hundredths(task.recovery.ratio)} (90% interval {interval})"


def _hundredths(proportion: float) -> str:
    return f"{100 * proportion:.2f}%"


def outlook(certification: Certification, tasks: Sequence[TaskResult], power: float) -> str:
    """Say how many items of these tasks would prove the bound, and under which assumptions; or why no number would."""
    n = sum(task.n for task in tasks)
    drop = sum(task.drop * task.n for task in tasks) / n
    if drop >= certification.margin or math.isclose(drop, certification.margin):
        return (
            f"The observed drop is {points(drop)} points: if the true drop is as large as this, no number of items "
            f"would prove that it is below {size(certification.margin)}."
        )
    chance, assumed = f"{100 * power:g}%", f"If the true drop is zero and {_assumed(certification, tasks, n)}"
    if certification.items_needed is None or certification.items_needed <= n:
        return f"{assumed}, a run of this size proves it with a power of about {chance} or more."
    items = float(f"{certification.items_needed:.2g}")
    return f"{assumed}, about {items:,.0f} items would prove it with {chance} power."


def _assumed(certification: Certification, tasks: Sequence[TaskResult], n: int) -> str:
    """Say which spread of the differences `items_needed` assumes; see `gate.decision.certify`."""
    if not all(task.tested_by_counts for task in tasks):
        return "the spread of the differences stays as observed"
    flips = sum(task.regressions + task.improvements for task in tasks)
    assumed = max(expected_flip_rate(n, flips), certification.margin)
    return "the flip rate stays as observed" if flips / n >= assumed else f"the flip rate is {100 * assumed:.2g}%"


def flips_title(shown: int, regressions: int, ranked: bool) -> str:
    """Return the title of a list of regressions; `ranked` says whether the worst come first."""
    if regressions == 1:
        return "The only regression"
    if not ranked:
        return f"{shown:,} of {regressions:,} regressions (not ranked: no log-likelihoods)"
    return f"The {'' if shown == 1 else f'{shown:,} '}worst of {regressions:,} regressions"


def evidence(early: EarlyStopping) -> str:
    """Return the e-value and its threshold."""
    return f"e-value {number(early.e_value)}, threshold {number(1 / early.alpha)}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


TEMPLATE_NAMES = {name: value for name, value in globals().items() if not name.startswith("_")}
"""Every name of this module, for the templates of reports."""
