"""Nightly use: which level tonight's test may have, so that an unchanged model rarely alarms."""

from __future__ import annotations

from collections.abc import Sequence

from gate.config import DecisionSettings
from gate.decision.result import Spending
from gate.stats import alarm_level, lord_levels


def spend(settings: DecisionSettings, past: Sequence[float]) -> Spending | None:
    """Return the level of the next run of a series.

    Parameters
    ----------
    settings : DecisionSettings
    past : sequence of float
        P-values of the earlier runs of the series, oldest first.

    Returns
    -------
    Spending or None
        None where `alpha_spending` is not set.

    Notes
    -----
    yearly: alarms / runs, never above alpha (`gate.stats.alarm_level`). lord: LORD++
    (`gate.stats.lord_levels`). Both guarantees, and what they assume, are stated there.
    """
    policy = settings.alpha_spending
    if policy is None:
        return None
    if policy.kind == "yearly":
        level = min(settings.alpha, alarm_level(min(policy.alarms, policy.runs), policy.runs))
        alarms = sum(p <= level for p in past)
        guarantee = (
            f"on candidates that are not worse, at most {policy.alarms:g} false alarm(s) in expectation in "
            f"{policy.runs} runs, whatever their dependence"
        )
    else:
        levels = lord_levels(list(past), settings.alpha)
        level = float(levels[-1])
        alarms = sum(p <= at for p, at in zip(past, levels[:-1], strict=True))
        guarantee = (
            f"on a model that never changes, a false alarm ever has probability at most {settings.alpha / 2:g}; the "
            f"expected share of false alarms among alarms is at most {settings.alpha:g} for independent runs"
        )
    if settings.margin > 0:
        guarantee += " (in large samples, as the test at a margin is)"
    guarantee += "; budgets on flips or KL come on top"
    return Spending(kind=policy.kind, level=level, run=len(past) + 1, alarms=alarms, guarantee=guarantee)
