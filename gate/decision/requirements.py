"""What the policy requires beyond the test: limits on observed values, proofs per task, and simultaneous bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gate.config import DecisionSettings, DistanceSettings
from gate.decision.broken import budgets_of
from gate.decision.certify import certify
from gate.decision.interval_wording import FEWEST_UNITS
from gate.decision.reasons import exceeded
from gate.decision.result import Certification, Limit, Recovery, TaskResult
from gate.decision.rows import Judged, interval_of, sizes_of
from gate.errors import ConfigError
from gate.samples.behaviour import is_likelihood
from gate.stats import effective_number, recovery

_KL_HINT = (
    "`gate run` measures it, except on servers that do not return tokens, and for texts on servers. If the baseline "
    "was evaluated after the candidate, evaluate the candidate again. "
    "Make these tasks advisory, or remove max_kl."
)


def prove(gating: Sequence[Judged], settings: DecisionSettings, stopped: bool) -> Certification | None:
    """Return the test of the bound `settings.certify` on all given tasks; None where it is not set.

    After an early stop nothing is certified: the test assumes a number of items that does not depend on the answers.
    """
    certification = certify(gating, settings)
    if certification is None or not stopped:
        return certification
    return certification.model_copy(update={"certified": False})


def with_policy(row: TaskResult, judged: Judged, settings: DecisionSettings, gating: int, stopped: bool) -> TaskResult:
    """Return the row of a task with what its own policy requires, and with its simultaneous bound.

    Parameters
    ----------
    settings : DecisionSettings
        The policy of the decision, with the level for proofs, which alpha spending does not change.
    gating : int
        Number of gating tasks, over which the bounds hold together (Bonferroni).
    stopped : bool
        Whether the evaluation was stopped early, after which neither proofs nor bounds are valid.

    Raises
    ------
    ConfigError
        `min_recovery` is set where the baseline's mean score is not above 0, or `max_kl` where KL divergence was not
        measured.

    Notes
    -----
    A proof per task needs no correction for the number of tasks: PASS requires all of them, and the probability that
    several true null hypotheses are all rejected is at most that of one (intersection-union test, Berger 1982).
    """
    policy = judged.policy
    own = settings.model_copy(update={"certify": policy.certify})
    measured = None if policy.min_recovery is None else _recovery(judged)
    return row.model_copy(
        update={
            "drop_bound": None
            if stopped or judged.role == "advisory"
            else simultaneous_bound(judged, settings, gating),
            "certification": prove([judged], own, stopped),
            "recovery": measured,
            "limits": _limits(row, judged, measured),
        }
    )


def all_proven(certification: Certification | None, rows: Sequence[TaskResult]) -> bool:
    """Return whether every proof that the policy requires succeeded, of all tasks together and of single ones."""
    proofs = [certification, *(row.certification for row in rows)]
    return all(proof.certified for proof in proofs if proof is not None)


def simultaneous_bound(judged: Judged, settings: DecisionSettings, gating: int) -> float | None:
    """Return the upper bound of a task's drop at level alpha / `gating`.

    None where that level is 1/2 or more, and where the units count as fewer than `FEWEST_UNITS` equal ones.
    """
    if effective_number(sizes_of(judged.pair)) < FEWEST_UNITS:
        return None
    confidence_level = 1.0 - 2.0 * settings.alpha / gating
    return interval_of(judged, confidence_level, upper_only=True)[1] if confidence_level > 0.0 else None


def _recovery(judged: Judged) -> Recovery:
    pair = judged.pair
    if not pair.baseline_score.mean() > 0.0:
        raise ConfigError(
            f"task {pair.task}: min_recovery needs a baseline with a mean score above 0; it is "
            f"{pair.baseline_score.mean():g}.",
            "Remove min_recovery or use max_drop. If the scores have a known range, declare `scale: [low, high]`.",
        )
    result = recovery(pair.baseline_score, pair.candidate_score, pair.clusters)
    low, high = (end if math.isfinite(end) else None for end in result.ci)
    return Recovery(ratio=result.ratio, ci90=(low, high))


def _limits(row: TaskResult, judged: Judged, measured: Recovery | None) -> list[Limit]:
    policy = judged.policy
    if policy.max_kl is not None and row.kl_mean is None:
        raise ConfigError(f"max_kl is set for task {row.task}, but KL divergence was not measured on it.", _KL_HINT)
    limits = []
    for kind, limit, observed in (
        ("max_drop", policy.max_drop, row.drop),
        ("max_flip_rate", policy.max_flip_rate, row.flip_rate),
        ("max_kl", policy.max_kl, row.kl_mean),
    ):
        if limit is not None and observed is not None:
            limits.append(Limit(kind=kind, limit=limit, observed=observed, exceeded=_beyond(observed, limit)))
    if policy.min_recovery is not None and measured is not None:
        limit, observed = policy.min_recovery, measured.ratio
        limits.append(Limit(kind="min_recovery", limit=limit, observed=observed, exceeded=_beyond(limit, observed)))
    return limits + budgets_of(row, policy.max_truncated, policy.max_broken)


def _beyond(larger: float, smaller: float) -> bool:
    """Return whether one number is larger than another by more than rounding: 3 of 100 is not more than 0.03."""
    return larger > smaller and not math.isclose(larger, smaller, rel_tol=1e-12)


def over_limit(rows: Sequence[TaskResult], distance: DistanceSettings) -> list[str]:
    """Return one sentence per limit that the gating tasks exceed, together or alone."""
    beyond = []
    items = sum(row.n for row in rows)
    # the likelihood of a text always changes: it does not flip
    flipping = [row for row in rows if not is_likelihood(row.metric)]
    flips = sum(row.regressions + row.improvements for row in flipping)
    flip_rate = flips / max(1, sum(row.n for row in flipping))
    if distance.max_flip_rate is not None and flip_rate > distance.max_flip_rate:
        beyond.append(f"{flip_rate:.2%} of the answers flipped; the limit is {distance.max_flip_rate:.2%}.")
    if distance.max_kl is not None:
        unmeasured = [row.task for row in rows if row.kl_mean is None]
        if unmeasured:
            message = f"max_kl is set, but KL divergence was not measured on: {', '.join(unmeasured)}."
            raise ConfigError(message, _KL_HINT)
        kl = sum((row.kl_mean or 0.0) * row.n for row in rows) / items
        if kl > distance.max_kl:
            beyond.append(f"The mean KL divergence is {kl:.3g} nats; the limit is {distance.max_kl:g}.")
    return beyond + [exceeded(row, limit) for row in rows for limit in row.limits if limit.exceeded]
