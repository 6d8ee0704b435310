"""How reports write numbers, tests and verdicts: every sentence about a decision is defined here, once."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from gate.decision.result import Decision, EarlyStopping, TaskResult

RULES = {
    "pooled": "drop pooled over the tasks",
    "max": "largest standardised drop",
    "fisher": "Fisher's combination of the tasks' p-values",
    "holm": "smallest Holm-adjusted p-value",
    "omnibus": "smallest of pooled, max and Fisher, under their joint null distribution",
}
"""What each rule tests, in the order in which reports list them."""
_UNNAMED_TEST = re.compile(r"(McNemar|permutation|Tango score)")  # labels without the word "test"
INTERVAL_CAPTION = "The intervals are large-sample approximations; the p-values decide."
KL_CAPTION = (
    "KL: mean divergence of the answer's first token from the baseline's, a lower bound. It measures the size of the "
    "change, not its direction."
)


def percent(proportion: float) -> str:
    """Return a proportion as a percentage."""
    return f"{100 * proportion:.1f}%"


def points(drop: float) -> str:
    """Return a signed drop in percentage points."""
    return f"{100 * drop:+.2f}" if drop else "0.00"


def size(proportion: float) -> str:
    """Return a margin or a bound in percentage points, with the unit."""
    return f"{100 * proportion:.3g} point{'' if math.isclose(proportion, 0.01) else 's'}"


def drop_interval(task: TaskResult) -> str:
    """Return the drop and its 90% interval, in points."""
    low, high = task.drop_ci90
    return f"{points(task.drop)} ({points(low)} to {points(high)})"


def number(value: float | None) -> str:
    """Return a number with three significant digits; `-` where there is none."""
    return "-" if value is None else f"{value:.3g}"


def p_value(p: float | None, bound: bool = False) -> str:
    """Return a p-value; `bound` marks an upper bound."""
    return f"≤ {number(p)}" if bound else number(p)


def deciding_p(decision: Decision) -> str:
    """Return the p-value that decides, as an equation."""
    return f"p {'≤' if decision.p_is_bound else '='} {number(decision.p_value)}"


def headline(decision: Decision) -> str:
    """Return how many tasks and items were compared."""
    return f"{count(len(decision.gating), 'task')}, {decision.items:,} paired items"


def test_names(decision: Decision) -> str:
    """Return the tests behind the p-values of the tasks, e.g. `the exact McNemar test`."""
    labels = sorted({task.test_label for task in decision.tasks})
    return " and ".join("the " + _UNNAMED_TEST.sub(r"\1 test", label) for label in labels)


def p_values(decision: Decision) -> str:
    """Return the caption of a table of tasks: the tests, the p-values over all gating tasks, and what decides."""
    aggregate = decision.aggregate
    return (
        f"The p-values are one-sided, from {test_names(decision)}. Over all gating tasks: "
        f"pooled {number(aggregate.pooled.p)}, max {number(aggregate.max.p)}, Fisher {number(aggregate.fisher.p)}, "
        f"omnibus {p_value(aggregate.omnibus.p, aggregate.omnibus.p_is_bound)}. {INTERVAL_CAPTION}"
    )


def task_summary(task: TaskResult) -> str:
    """Return one task's scores, flips and p-values in one sentence."""
    holm = "" if task.p_holm is None else f", Holm p = {number(task.p_holm)}"
    return (
        f"{percent(task.baseline)} to {percent(task.candidate)}, drop {drop_interval(task)} points; "
        f"{task.regressions:,} regressions, {task.improvements:,} improvements in {task.n:,} items; "
        f"{task.test_label} p = {number(task.p_exact)}{holm}."
    )


def detectable_drop(decision: Decision) -> str:
    """Say what drop this run could have detected."""
    sensitivity = decision.sensitivity
    power = f"{100 * sensitivity.power:g}%"
    if sensitivity.detectable_drop is not None:
        drop = f"{100 * sensitivity.detectable_drop:.2g} points"
        text = f"A true drop of {drop} on every task is detected with {power} power."
    elif decision.margin == 0 and all(task.test == "exact McNemar" for task in decision.gating):
        text = f"Too few items: the power is below {power} even if every flip is a regression."
    else:
        reason = "With a margin" if decision.margin > 0 else "For this mix of scores"
        text = f"{reason}, only the detectable drop of each task is known (`mde` in the JSON result)."
    if sensitivity.blind_tasks:
        text += f" Tasks with too few flips to be significant on their own: {', '.join(sensitivity.blind_tasks)}."
    return text


def spending(decision: Decision) -> str | None:
    """Say how alpha is spent over a series of runs; None without alpha spending."""
    spent = decision.spending
    if spent is None:
        return None
    return (
        f"Run {spent.run} of its series has alpha {number(spent.level)} ({spent.kind}, "
        f"{count(spent.alarms, 'earlier alarm')}): {spent.guarantee}."
    )


def early_stop(decision: Decision) -> str | None:
    """Say what early stopping saved; None where it is off."""
    early = decision.early_stop
    if early is None:
        return None
    evidence = _evidence(early)
    if not early.stopped:
        return f"The stopping threshold was not reached ({evidence}); all {early.total:,} items were evaluated."
    if early.items >= early.total:
        return f"The stopping threshold was reached at the last of {early.total:,} gating items ({evidence})."
    saved = early.total - early.items
    return (
        f"Stopped after {early.items:,} of {early.total:,} gating items ({evidence}); "
        f"{saved:,} items ({percent(saved / early.total)}) were saved."
    )


def reasons(decision: Decision, over_limit: Sequence[str]) -> list[str]:
    """Return why the verdict is what it is; `over_limit` names the exceeded limits."""
    if decision.verdict == "FAIL":
        worse = [_worse(decision)] if decision.stopped_early or decision.p_value <= decision.alpha else []
        return [*worse, *over_limit]
    level = f"{deciding_p(decision)}, alpha = {decision.alpha:g}"
    certification = decision.certification
    if certification is None:
        return [f"No significant drop: {level}."]
    bound = size(certification.margin)
    proof = f"large-sample score test, p = {number(certification.p_value)}"
    if certification.certified:
        return [
            f"No significant drop: {level}.",
            f"Certified: the mean drop over all {decision.items:,} gating items is below {bound} ({proof}).",
        ]
    needed = items_needed(certification.items_needed, decision.sensitivity.power)
    return [
        f"No significant drop ({level}), but {decision.items:,} items do not prove that the mean drop is below {bound} "
        f"({proof}).{needed and f' {needed.capitalize()}.'}"
    ]


def items_needed(items: int | None, power: float) -> str:
    """Say how many items would certify the bound, to two significant digits; empty where unknown."""
    if items is None:
        return ""
    return f"about {float(f'{items:.2g}'):,.0f} items would be needed if the true drop is zero ({100 * power:g}% power)"


def flips_title(shown: int, regressions: int, ranked: bool) -> str:
    """Return the title of a list of regressions; `ranked` says whether the worst come first."""
    if regressions == 1:
        return "The only regression"
    if not ranked:
        return f"{shown:,} of {regressions:,} regressions (not ranked: no log-likelihoods)"
    return f"The {'' if shown == 1 else f'{shown:,} '}worst of {regressions:,} regressions"


def _worse(decision: Decision) -> str:
    early = decision.early_stop
    if early is not None and early.stopped:
        return (
            f"The candidate is worse than the baseline: stopped after {early.items:,} of {early.total:,} items "
            f"({_evidence(early)}). The p-values of single tasks are those of these items, not adjusted for the stop."
        )
    beyond = f" by more than {size(decision.margin)}" if decision.margin else ""
    significant = [task.task for task in decision.significant_tasks]
    own = "its own" if len(significant) == 1 else "their own"
    which = (
        f"Significant on {own}: {', '.join(significant)}."
        if significant
        else "No single task is significant on its own."
    )
    return (
        f"The candidate is worse than the baseline{beyond}: {deciding_p(decision)}, alpha = {decision.alpha:g} "
        f"({decision.rule} test: {RULES[decision.rule]}). {which}"
    )


def _evidence(early: EarlyStopping) -> str:
    return f"e-value {number(early.e_value)}, threshold {number(1 / early.alpha)}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


TEMPLATE_NAMES = {name: value for name, value in globals().items() if not name.startswith("_")}
"""Every name of this module, for the templates of reports."""
