"""The verdict: all tasks' evidence and the policy in, one calibrated decision out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from gate.config import DecisionSettings, DistanceSettings
from gate.decision.certify import certify
from gate.decision.result import (
    Aggregate,
    Decision,
    EarlyStopping,
    OmnibusP,
    P,
    Sensitivity,
    Spending,
    TaskResult,
    Verdict,
)
from gate.decision.rows import Judged, Role, evidence_of, expected_flip_rate, subtasks_of, task_row
from gate.errors import ConfigError, ExitCode
from gate.samples import PairedTask
from gate.stats import JointResult, can_reject, joint_test, minimum_detectable_drop_joint

_RULES = {
    "omnibus": "omnibus test (pooled, max and Fisher under their joint null)",
    "pooled": "exact McNemar test pooled over the tasks",
    "max": "largest standardised drop, exact null",
    "fisher": "Fisher's combination, exact null",
    "holm": "smallest Holm-adjusted p-value",
}


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
        Budgets.
    roles : mapping, optional
        Role by task name; tasks that it does not name are gating.
    seed : int
        Of the Monte-Carlo draws.
    spending : Spending, optional
        Level of this run out of a history of runs; replaces alpha for the FAIL decision, not for `certify`.
    early : EarlyStopping, optional
        What was seen while the candidate was evaluated; the final test then has alpha less early's part, so that both
        together keep alpha (Bonferroni).

    Returns
    -------
    Decision
        FAIL: "no gating task has dropped by more than the margin" is rejected at alpha, or a budget is
        exceeded. The false-alarm rate of that test is at most alpha (margin 0: exactly valid given the
        numbers of discordant items; margin > 0: asymptotic).

    Raises
    ------
    ConfigError
        No gating task.
    """
    judged = [Judged(pair, (roles or {}).get(pair.task, "gating"), evidence_of(pair, seed)) for pair in pairs]
    gating = [one for one in judged if one.role == "gating"]
    if not gating:
        raise ConfigError("no gating task to judge by.", "At least one task must have role: gating.")
    certification = certify(gating, settings)
    if spending is not None:
        settings = settings.model_copy(update={"alpha": spending.level})
    if early is not None:
        settings = settings.model_copy(update={"alpha": settings.alpha - early.alpha})
    joint = joint_test(
        [one.evidence for one in gating], settings.rule, settings.margin, settings.draws, seed, settings.alpha
    )
    rows = _rows(judged, gating, joint, settings, seed)
    gating_rows = [row for row in rows if row.role == "gating"]
    failures = _failures(joint, gating_rows, settings, distance or DistanceSettings())
    if early is not None and early.stopped:  # the tests' own p-values are not valid then
        failures = [_stopped(early), *_over_budget(gating_rows, distance or DistanceSettings())]
    verdict: Verdict = "PASS"
    reasons = failures
    if failures:
        verdict = "FAIL"
    elif certification is not None and not certification.certified:
        verdict = "INCONCLUSIVE"
        needed = (
            ""
            if certification.items_needed is None
            else f" About {certification.items_needed:,} items would."
        )
        reasons = [
            f"No significant drop (p {_p(joint)}), but these {_items(gating_rows):,} items do not prove that "
            f"the mean drop is below {_points(certification.margin)} points (p = {certification.p_value:.3g}).{needed}"
        ]
    else:
        reasons = [f"No significant drop: p {_p(joint)} is above alpha = {settings.alpha:g}."]
        if certification is not None:
            reasons.append(
                f"Certified: the mean drop over all {_items(gating_rows):,} gating items is below "
                f"{_points(certification.margin)} points (large-sample score test, p = {certification.p_value:.3g})."
            )
    return Decision(
        verdict=verdict,
        exit_code=_exit_code(verdict, settings),
        rule=settings.rule,
        alpha=settings.alpha,
        margin=settings.margin,
        # 1/e is a p-value whenever the run stops (Ville); the tests' own are not
        p_value=math.exp(-early.log_e_value) if early is not None and early.stopped else joint.p_value,
        reasons=reasons,
        spending=spending,
        early_stop=early,
        certification=certification,
        sensitivity=_sensitivity(gating, gating_rows, settings, seed),
        tasks=rows,
        aggregate=Aggregate(
            pooled=P(p=joint.pooled),
            max=P(p=joint.max_drop),
            fisher=P(p=joint.fisher),
            holm=P(p=joint.holm),
            omnibus=OmnibusP(
                p=joint.omnibus, draws=joint.draws, p_low=joint.omnibus_low, p_high=joint.omnibus_high
            ),
        ),
    )


def _rows(
    judged: Sequence[Judged],
    gating: Sequence[Judged],
    joint: JointResult,
    settings: DecisionSettings,
    seed: int,
) -> list[TaskResult]:
    m = np.array([one.evidence.discordant for one in gating])
    able = can_reject(m, settings.alpha, joint.tasks)
    place = {one.pair.task: index for index, one in enumerate(gating)}
    rows = []
    for one in judged:
        index = place.get(one.pair.task)
        if index is None:
            row = _alone(one, settings, seed)
        else:
            row = task_row(
                one, settings, float(joint.tasks[index]), float(joint.tasks_holm[index]), bool(able[index])
            )
        parts = [Judged(part, "advisory", evidence_of(part, seed)) for part in subtasks_of(one.pair)]
        below = [_alone(part, settings, seed) for part in parts]
        rows.append(row.model_copy(update={"subtasks": below}) if below else row)
    return rows


def _alone(one: Judged, settings: DecisionSettings, seed: int) -> TaskResult:
    """Return the row of a task that decides nothing: its own test, adjusted for nothing."""
    fewest = 1_000  # draws are for the omnibus rule, which a task alone does not need
    p = joint_test([one.evidence], "holm", settings.margin, fewest, seed).tasks[0]
    return task_row(
        one, settings, float(p), None, bool(can_reject(one.evidence.discordant, settings.alpha)[0])
    )


def _failures(
    joint: JointResult, rows: Sequence[TaskResult], settings: DecisionSettings, distance: DistanceSettings
) -> list[str]:
    failures = []
    if joint.p_value <= settings.alpha:
        beyond = f" by more than {_points(settings.margin)} points" if settings.margin else ""
        # each task by its own Holm-adjusted p; where none reaches alpha, the evidence is the sum of small drops
        guilty = [row.task for row in rows if row.p_holm is not None and row.p_holm <= settings.alpha]
        where = (
            f" Significant on its own: {', '.join(guilty)}."
            if guilty
            else " No single task is significant alone."
        )
        failures.append(
            f"The candidate is worse than the baseline{beyond}: p {_p(joint)}, at most alpha = "
            f"{settings.alpha:g} ({_RULES[settings.rule]}).{where}"
        )
    return failures + _over_budget(rows, distance)


def _over_budget(rows: Sequence[TaskResult], distance: DistanceSettings) -> list[str]:
    failures = []
    flips = sum(row.regressions + row.improvements for row in rows) / _items(rows)
    if distance.max_flip_rate is not None and flips > distance.max_flip_rate:
        failures.append(f"{flips:.2%} of the answers flipped; the budget is {distance.max_flip_rate:.2%}.")
    if distance.max_kl is not None:
        unmeasured = [row.task for row in rows if row.kl_mean is None]
        if unmeasured:
            raise ConfigError(
                f"max_kl is set, but KL divergence was not measured on: {', '.join(unmeasured)}.",
                "`gate run` measures it, but not where whole texts are scored (perplexity) or a server hides its "
                "tokens; make these tasks advisory, or remove max_kl.",
            )
        kl = sum((row.kl_mean or 0.0) * row.n for row in rows) / _items(rows)
        if kl > distance.max_kl:
            failures.append(f"The mean KL divergence is {kl:.3g} nats; the budget is {distance.max_kl:g}.")
    return failures


def _stopped(early: EarlyStopping) -> str:
    return (
        f"The candidate is worse than the baseline: stopped after {early.items:,} of {early.of:,} items, when the "
        f"evidence reached {math.exp(min(early.log_e_value, 700)):.3g} to 1; {1 / early.alpha:g} to 1 was enough (an "
        f"e-process at alpha = {early.alpha:g}). p-values of single tasks are of these items and ignore the stopping."
    )


def _sensitivity(
    gating: Sequence[Judged], rows: Sequence[TaskResult], settings: DecisionSettings, seed: int
) -> Sensitivity:
    drop = math.nan
    if settings.margin == 0 and all(one.evidence.is_binary for one in gating):
        n = [one.pair.n for one in gating]
        flips = [expected_flip_rate(one.pair.n, one.evidence.discordant) for one in gating]
        drop = minimum_detectable_drop_joint(
            n, flips, settings.alpha, settings.power, settings.rule, runs=2_000, seed=seed
        )
    return Sensitivity(
        power=settings.power,
        drop=None if math.isnan(drop) else drop,
        blind_tasks=[row.task for row in rows if not row.can_reject],
    )


def _exit_code(verdict: Verdict, settings: DecisionSettings) -> int:
    if verdict == "INCONCLUSIVE" and settings.on_inconclusive == "pass":
        return int(ExitCode.PASS)
    return int(ExitCode[verdict])


def _items(rows: Sequence[TaskResult]) -> int:
    return sum(row.n for row in rows)


def _points(proportion: float) -> str:
    return f"{100 * proportion:.3g}"


def _p(joint: JointResult) -> str:
    """Return the deciding p-value; `at most` where no Monte-Carlo draw was as extreme."""
    bound = joint.rule == "omnibus" and joint.draws > 0 and joint.p_value * (joint.draws + 1) < 1.5
    return f"{'<=' if bound else '='} {joint.p_value:.3g}"
