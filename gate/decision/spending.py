"""Alpha spending: the level of each run of a nightly series, so that an unchanged model rarely fails."""

from __future__ import annotations

from collections.abc import Sequence

from gate.config import DecisionSettings
from gate.decision.series import Spending
from gate.stats import alarm_level, lord_levels


def spend(settings: DecisionSettings, past: Sequence[float], margins: Sequence[float] = ()) -> Spending | None:
    """Return the level of the next run of a series; None where `alpha_spending` is not set.

    Parameters
    ----------
    settings : DecisionSettings
    past : sequence of float
        P-values of the earlier runs of the series, oldest first.
    margins : sequence of float
        Margins that tasks set themselves.

    Notes
    -----
    yearly: alarms / runs, at most alpha (`gate.stats.alarm_level`). lord: LORD++ (`gate.stats.lord_levels`).
    """
    policy = settings.alpha_spending
    if policy is None:
        return None
    if policy.kind == "yearly":
        level = min(settings.alpha, alarm_level(min(policy.alarms, policy.runs), policy.runs))
        alarms = sum(p <= level for p in past)
        guarantee = (
            f"if no candidate is worse, at most {policy.alarms:g} false alarm(s) are expected in {policy.runs} runs, "
            "even if the runs are dependent; false alarms of runs that share one stored baseline come in bursts, so "
            "refresh the baseline after an alarm"
        )
    else:
        levels = lord_levels(list(past), settings.alpha)
        level = float(levels[-1])
        alarms = sum(p <= own for p, own in zip(past, levels[:-1], strict=True))
        guarantee = (
            f"for a model that never changes, the probability of any false alarm is at most {settings.alpha / 2:g}; "
            f"for independent runs, the expected share of false alarms among all alarms is at most {settings.alpha:g}"
        )
    if settings.margin > 0 or any(margins):
        guarantee += " (with a margin, for large samples only where scores are graded or items are clustered)"
    guarantee += "; limits on observed values are not included"
    return Spending(kind=policy.kind, level=level, run=len(past) + 1, alarms=alarms, guarantee=guarantee)
