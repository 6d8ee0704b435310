"""The verdict: evidence of all tasks and the policy in, one calibrated decision out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from gate.config import DecisionSettings, DistanceSettings
from gate.decision import wording
from gate.decision.certify import certify
from gate.decision.result import (
    Aggregate,
    AggregatePValue,
    Decision,
    EarlyStopping,
    OmnibusPValue,
    Sensitivity,
    Spending,
    TaskResult,
    Verdict,
)
from gate.decision.rows import Judged, Role, evidence_of, expected_flip_rate, subtasks_of, task_row
from gate.errors import ConfigError, ExitCode
from gate.samples import PairedTask
from gate.stats import CombinedResult, can_reject, combine, decision_detectable_drop


def decide(
    pairs: Sequence[PairedTask],
    settings: DecisionSettings,
    distance: DistanceSettings | None = None,
    roles: Mapping[str, Role] | None = None,
    seed: int = 0,
    spending: Spending | None = None,
    early: EarlyStopping | None = None,
) -> Decision:
    """Judge a candidate.

    Parameters
    ----------
    pairs : sequence of PairedTask
        At least one must be gating.
    settings : DecisionSettings
        The policy: alpha, rule, margin, certify.
    distance : DistanceSettings, optional
        Limits on flips and KL divergence.
    roles : mapping of str to str, optional
        Role by task name; other tasks are gating.
    spending : Spending, optional
        Level of this run in a series; replaces alpha for the FAIL decision, not for `certify`.
    early : EarlyStopping, optional
        State of the e-process after the evaluation. The final test has alpha less the e-process's share, so that both
        together keep alpha (Bonferroni).

    Returns
    -------
    Decision
        FAIL where "no gating task has dropped by more than the margin" is rejected at alpha, or a limit is
        exceeded. The false-alarm rate of the test is at most alpha: exactly, given the numbers of discordant items,
        at margin 0; asymptotically at a margin above 0.

    Raises
    ------
    ConfigError
        No task is gating, or `max_kl` is set where KL divergence was not measured.
    """
    judged = [Judged(pair, (roles or {}).get(pair.task, "gating"), evidence_of(pair, seed)) for pair in pairs]
    gating = [task for task in judged if task.role == "gating"]
    if not gating:
        raise ConfigError("no gating task to judge by.", "At least one task must have role: gating.")
    certification = certify(gating, settings)
    if spending is not None:
        settings = settings.model_copy(update={"alpha": spending.level})
    if early is not None:
        settings = settings.model_copy(update={"alpha": settings.alpha - early.alpha})
    combined = combine(
        [task.evidence for task in gating],
        settings.rule,
        margin=settings.margin,
        n_resamples=settings.draws,
        rng=seed,
        alpha=settings.alpha,
    )
    rows = _rows(judged, combined, settings, seed)
    gating_rows = [row for row in rows if row.role == "gating"]
    over_limit = _over_limit(gating_rows, distance or DistanceSettings())
    if early is not None and early.stopped:
        # 1/e is a p-value whenever the run stops (Ville's inequality); the tests' own p-values are not
        p_value, rejected = math.exp(-early.log_e_value), True
    else:
        p_value, rejected = combined.pvalue, combined.pvalue <= settings.alpha
    verdict: Verdict = "PASS"
    if rejected or over_limit:
        verdict = "FAIL"
    elif certification is not None and not certification.certified:
        verdict = "INCONCLUSIVE"
    decision = Decision(
        verdict=verdict,
        exit_code=_exit_code(verdict, settings),
        rule=settings.rule,
        alpha=settings.alpha,
        margin=settings.margin,
        p_value=p_value,
        reasons=[],
        spending=spending,
        early_stop=early,
        certification=certification,
        sensitivity=_sensitivity(gating, gating_rows, settings, seed),
        tasks=rows,
        aggregate=_aggregate(combined),
    )
    return decision.model_copy(update={"reasons": wording.reasons(decision, over_limit)})


def _rows(
    judged: Sequence[Judged], combined: CombinedResult, settings: DecisionSettings, seed: int
) -> list[TaskResult]:
    """Return one row per task; `combined` holds the p-values of the gating tasks in their order."""
    discordant = [task.evidence.discordant for task in judged if task.role == "gating"]
    able = can_reject(np.array(discordant), settings.alpha, combined.task_pvalues)
    tests = zip(combined.task_pvalues, combined.task_pvalues_holm, able, strict=True)
    rows = []
    for task in judged:
        if task.role == "gating":
            p, p_holm, rejects = next(tests)
            row = task_row(task, settings, float(p), float(p_holm), bool(rejects))
        else:
            row = _advisory_row(task, settings)
        subtasks = [
            _advisory_row(Judged(pair, "advisory", evidence_of(pair, seed)), settings)
            for pair in subtasks_of(task.pair)
        ]
        rows.append(row.model_copy(update={"subtasks": subtasks}) if subtasks else row)
    return rows


def _advisory_row(task: Judged, settings: DecisionSettings) -> TaskResult:
    """Return the row of a task that never decides: its own test, without adjustment."""
    rejects = can_reject(task.evidence.discordant, settings.alpha)[0]
    return task_row(task, settings, task.evidence.pvalue_at(settings.margin), None, bool(rejects))


def _aggregate(combined: CombinedResult) -> Aggregate:
    return Aggregate(
        pooled=AggregatePValue(p=combined.pooled.pvalue),
        max=AggregatePValue(p=combined.max_drop.pvalue),
        fisher=AggregatePValue(p=combined.fisher.pvalue),
        holm=AggregatePValue(p=combined.holm.pvalue),
        omnibus=OmnibusPValue(
            p=combined.omnibus.pvalue,
            draws=combined.omnibus.n_resamples,
            p_low=combined.omnibus.pvalue_ci.low,
            p_high=combined.omnibus.pvalue_ci.high,
        ),
    )


def _over_limit(rows: Sequence[TaskResult], distance: DistanceSettings) -> list[str]:
    """Return one sentence per limit that the gating tasks exceed."""
    exceeded = []
    items = sum(row.n for row in rows)
    flip_rate = sum(row.regressions + row.improvements for row in rows) / items
    if distance.max_flip_rate is not None and flip_rate > distance.max_flip_rate:
        exceeded.append(f"{flip_rate:.2%} of the answers flipped; the limit is {distance.max_flip_rate:.2%}.")
    if distance.max_kl is not None:
        unmeasured = [row.task for row in rows if row.kl_mean is None]
        if unmeasured:
            raise ConfigError(
                f"max_kl is set, but KL divergence was not measured on: {', '.join(unmeasured)}.",
                "`gate run` measures it, except for perplexity tasks and servers that do not return tokens. "
                "Make these tasks advisory, or remove max_kl.",
            )
        kl = sum((row.kl_mean or 0.0) * row.n for row in rows) / items
        if kl > distance.max_kl:
            exceeded.append(f"The mean KL divergence is {kl:.3g} nats; the limit is {distance.max_kl:g}.")
    return exceeded


def _sensitivity(
    gating: Sequence[Judged], rows: Sequence[TaskResult], settings: DecisionSettings, seed: int
) -> Sensitivity:
    """Return what drop the run could have detected."""
    drop = math.nan
    if settings.margin == 0 and all(task.evidence.is_binary for task in gating):
        n = [task.pair.n for task in gating]
        flip_rates = [expected_flip_rate(task.pair.n, task.evidence.discordant) for task in gating]
        drop = decision_detectable_drop(
            n, flip_rates, settings.alpha, settings.power, settings.rule, n_resamples=2_000, rng=seed
        )
    return Sensitivity(
        power=settings.power,
        detectable_drop=None if math.isnan(drop) else drop,
        blind_tasks=[row.task for row in rows if not row.can_reject],
    )


def _exit_code(verdict: Verdict, settings: DecisionSettings) -> int:
    if verdict == "INCONCLUSIVE" and settings.on_inconclusive == "pass":
        return int(ExitCode.PASS)
    return int(ExitCode[verdict])
