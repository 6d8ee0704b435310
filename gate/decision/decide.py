"""The verdict: evidence of all tasks and the policy in, one calibrated decision out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gate.config import DecisionSettings, DistanceSettings, TaskPolicy
from gate.decision import validity
from gate.decision.aggregate import aggregate_of
from gate.decision.broken import broken_findings, over_budget
from gate.decision.dependence import joined, links_of
from gate.decision.nightly import level_of_one_run, log_e_value_of, with_tonight
from gate.decision.reasons import reasons
from gate.decision.requirements import all_proven, over_limit, prove, with_policy
from gate.decision.result import Certification, Decision, TaskResult, Verdict
from gate.decision.rows import NO_POLICY, Judged, Role, evidence_of, subtasks_of, task_row
from gate.decision.run_sections import Adjustment, EarlyStopping, Sensitivity
from gate.decision.sensitivity import EXPECTED_FLIPS, detectable, planned_links, planned_task
from gate.decision.series import Spending
from gate.decision.task_verdicts import with_verdicts
from gate.errors import ConfigError, ExitCode
from gate.samples import PairedTask
from gate.stats import CombinedResult, by_holm, can_reject, combine


def decide(
    pairs: Sequence[PairedTask],
    settings: DecisionSettings,
    distance: DistanceSettings | None = None,
    roles: Mapping[str, Role] | None = None,
    seed: int = 0,
    spending: Spending | None = None,
    early: EarlyStopping | None = None,
    policies: Mapping[str, TaskPolicy] | None = None,
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
    policies : mapping of str to TaskPolicy, optional
        What is required of single tasks, by name. A margin, certificate or limit of a task is reported for advisory
        tasks too, but only those of gating tasks decide.

    Returns
    -------
    Decision
        FAIL where "no gating task has dropped by more than its margin" is rejected at alpha, or a limit is
        exceeded. If that hypothesis is true, the test rejects with a probability of at most alpha: for any number of
        items at margin 0, and where independent items are right or wrong; else for large samples.

    Raises
    ------
    ConfigError
        No task is gating, or `max_kl` is set where KL divergence was not measured.
    """
    return conclude(run_tests(pairs, settings, roles, seed, spending, early, policies=policies), distance)


@dataclass(frozen=True)
class Tested:
    """A candidate after its tests, before the verdict.

    Attributes
    ----------
    settings : DecisionSettings
        The policy; `alpha` is the level of the final test of this run.
    policy : DecisionSettings
        The policy as given; its `alpha` is the level of proofs.
    p_value : float
        P-value of the rule, or of the e-process that ended the evaluation.
    """

    judged: Sequence[Judged]
    settings: DecisionSettings
    certification: Certification | None
    combined: CombinedResult
    p_value: float
    spending: Spending | None
    early: EarlyStopping | None
    seed: int
    policy: DecisionSettings

    @property
    def gating(self) -> list[Judged]:
        """The gating tasks."""
        return [task for task in self.judged if task.role == "gating"]


def run_tests(
    pairs: Sequence[PairedTask],
    settings: DecisionSettings,
    roles: Mapping[str, Role] | None = None,
    seed: int = 0,
    spending: Spending | None = None,
    early: EarlyStopping | None = None,
    candidates: int = 1,
    policies: Mapping[str, TaskPolicy] | None = None,
) -> Tested:
    """Test a candidate; parameters and errors as for `decide`. `candidates` share the level for stopping early."""
    policy, roles, policies = settings, roles or {}, policies or {}
    pairs = joined(pairs, roles)
    judged = [
        Judged(pair, roles.get(pair.task, "gating"), evidence_of(pair, seed), policies.get(pair.task, NO_POLICY))
        for pair in pairs
    ]
    gating = [task for task in judged if task.role == "gating"]
    if not gating:
        raise ConfigError("no gating task to judge by.", "At least one task must have role: gating.")
    validity.refuse_unknown_units(judged, settings)
    certification = prove(gating, settings, early is not None and early.stopped)
    if spending is not None:
        settings = settings.model_copy(update={"alpha": spending.level})
    if early is not None:
        settings = settings.model_copy(update={"alpha": settings.alpha - candidates * early.alpha})
    combined = combine(
        [task.evidence for task in gating],
        settings.rule,
        margin=[task.margin(settings) for task in gating],
        n_resamples=settings.draws,
        rng=seed,
        alpha=settings.alpha,
        links=links_of([task.pair for task in gating], seed, margin=any(task.margin(settings) for task in gating)),
    )
    p_value = combined.pvalue
    if early is not None and early.stopped:
        # 1/e is a p-value whenever the run stops (Ville's inequality); the tests' own p-values are not
        p_value = math.exp(-early.log_e_value)
    elif spending is not None and spending.evidence is not None:
        spending, p_value = with_tonight(spending, log_e_value_of(gating, settings))
    return Tested(judged, settings, certification, combined, p_value, spending, early, seed, policy)


def conclude(
    tested: Tested, distance: DistanceSettings | None = None, adjusted: tuple[float, Adjustment] | None = None
) -> Decision:
    """Return the verdict on a tested candidate; `adjusted` is its p-value where it is one of several."""
    settings, combined, early, seed = tested.settings, tested.combined, tested.early, tested.seed
    gating, certification = tested.gating, tested.certification
    p_value, adjustment = adjusted or (tested.p_value, None)
    stopped = early is not None and early.stopped
    rejected = p_value <= settings.alpha or stopped
    alone = settings  # what this run could show by itself
    if tested.spending is not None and tested.spending.evidence is not None:
        discordant = max(EXPECTED_FLIPS, sum(task.evidence.discordant for task in gating))
        alone = settings.model_copy(update={"alpha": level_of_one_run(tested.spending, discordant)})
    level = alone.alpha
    if adjustment is not None:  # the adjusted p-value is at most that of Bonferroni's method
        alone = alone.model_copy(update={"alpha": alone.alpha / adjustment.candidates})
    rows = [
        with_policy(row, task, tested.policy, len(gating), stopped)
        for row, task in zip(_rows(tested.judged, combined, alone, level, seed), tested.judged, strict=True)
    ]
    gating_rows = [row for row in rows if row.role == "gating"]
    exceeded = over_limit(gating_rows, distance or DistanceSettings()) + over_budget(gating_rows, tested.policy)
    rows = with_verdicts(rows, gating, combined, settings.alpha, early, tested.spending, p_value, rejected, seed)
    gating_rows = [row for row in rows if row.role == "gating"]
    findings = validity.findings(tested.judged, tested.policy, settings.alpha)
    findings = sorted([*findings, *broken_findings(rows, tested.policy.alpha)], key=lambda finding: not finding.blocks)
    blocking = [finding for finding in findings if finding.blocks]
    rows, certification = validity.without_proofs(rows, certification, blocking)
    gating_rows = [row for row in rows if row.role == "gating"]
    verdict: Verdict = "PASS"
    if rejected or exceeded:
        verdict = "FAIL"
    elif blocking or not all_proven(certification, gating_rows):
        verdict = "INCONCLUSIVE"
    decision = Decision(
        verdict=verdict,
        exit_code=exit_code_of(verdict, settings, bool(blocking)),
        rule=settings.rule,
        alpha=settings.alpha,
        margin=settings.margin,
        p_value=p_value,
        reasons=[],
        spending=tested.spending,
        early_stop=early,
        adjustment=adjustment,
        certification=certification,
        sensitivity=_sensitivity(gating, gating_rows, alone, seed),
        bound_confidence=None if stopped else 1.0 - tested.policy.alpha,
        tasks=rows,
        aggregate=aggregate_of(combined, _resolution(gating, combined)),
        validity=findings,
    )
    why = [finding.message for finding in blocking] if verdict == "INCONCLUSIVE" else []
    return decision.model_copy(update={"reasons": why or reasons(decision, exceeded)})


def _rows(
    judged: Sequence[Judged], combined: CombinedResult, settings: DecisionSettings, level: float, seed: int
) -> list[TaskResult]:
    """Return one row per task; `combined` holds the p-values of the gating tasks in their order.

    `settings` are those of the detectable drops; `level` is that at which a task can fail.
    """
    gating = [task for task in judged if task.role == "gating"]
    discordant = [task.evidence.discordant for task in gating]
    smallest = _smallest(gating, settings)
    if by_holm([task.evidence for task in gating], combined):
        able = can_reject(discordant, level, combined.task_pvalues, smallest)
    else:  # closed testing: a task fails only if its own test rejects, and needs no more where others have dropped
        able = np.array(smallest) <= level
    tests = zip(combined.task_pvalues, combined.task_pvalues_holm, able, strict=True)
    rows = []
    for task in judged:
        if task.role == "gating":
            p, p_holm, rejects = next(tests)
            row = task_row(task, settings, float(p), float(p_holm), bool(rejects))
        else:
            row = _advisory_row(task, settings)
        own = TaskPolicy(margin=task.policy.margin)
        subtasks = [
            _advisory_row(Judged(pair, "advisory", evidence_of(pair, seed), own), settings)
            for pair in subtasks_of(task.pair)
        ]
        rows.append(row.model_copy(update={"subtasks": subtasks}) if subtasks else row)
    return rows


def _resolution(gating: Sequence[Judged], combined: CombinedResult) -> float:
    """Return the p-value up to which the aggregates are bounds, because the tasks' drawn signs tell no more."""
    if any(combined.margins) or combined.linked:
        return 0.0
    return max(task.evidence.null.resolution for task in gating)


def _smallest(tasks: Sequence[Judged], settings: DecisionSettings) -> list[float]:
    """Return the p-value of each task if every discordant item were a regression."""
    return [task.evidence.smallest_pvalue_at(task.margin(settings)) for task in tasks]


def _advisory_row(task: Judged, settings: DecisionSettings) -> TaskResult:
    """Return the row of a task that never decides: its own test, without adjustment."""
    rejects = can_reject(task.evidence.discordant, settings.alpha, smallest=_smallest([task], settings))[0]
    return task_row(task, settings, task.evidence.pvalue_at(task.margin(settings)), None, bool(rejects))


def _sensitivity(
    gating: Sequence[Judged], rows: Sequence[TaskResult], settings: DecisionSettings, seed: int
) -> Sensitivity:
    """Return what drop the run could have detected."""
    links = planned_links([task.pair for task in gating])
    planned = [planned_task(task.pair, task.margin(settings)) for task in gating]
    return Sensitivity(
        power=settings.power,
        alpha=settings.alpha,
        detectable_drop=detectable(planned, settings, seed, links),
        linked=links is not None,
        blind_tasks=[row.task for row in rows if not row.can_reject],
    )


def exit_code_of(verdict: Verdict, settings: DecisionSettings, invalid: bool) -> int:
    """Return the exit code; a run that could not have shown a loss never passes, whatever `on_inconclusive` says."""
    if verdict == "INCONCLUSIVE" and settings.on_inconclusive == "pass" and not invalid:
        return int(ExitCode.PASS)
    return int(ExitCode[verdict])
