"""Nightly e-values: the evidence of a series of runs, with one threshold that never shrinks."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gate.config import DecisionSettings
from gate.decision.dependence import units_over_tasks
from gate.decision.rows import Judged
from gate.decision.series import NightlyEvidence, Spending
from gate.samples import PairedTask
from gate.stats import log_e_value, log_e_value_of_differences, mcnemar_exact
from gate.store.history import Record

_SKETCH = 64
_DIGITS = 12  # hexadecimal digits kept of a hash


@dataclass(frozen=True)
class Night:
    """One run of a series.

    Attributes
    ----------
    baseline, candidate : str
        Fingerprints of the models.
    items : frozenset of str
        `items_sketch` of the gating tasks.
    log_e_value : float
        Natural logarithm of the run's own e-value.
    alarm : bool
        Whether the run raised an alarm.
    """

    baseline: str
    candidate: str
    items: frozenset[str]
    log_e_value: float = 0.0
    alarm: bool = False

    def is_fresh(self, earlier: Night, margin: bool = False) -> bool:
        """Return whether this run is independent of an earlier one: no common items, or no common model.

        At a margin the items are a random sample, and a sample in which drops are frequent has them with other models
        too: only runs without common items are independent.
        """
        if not self.items & earlier.items:
            return True
        return not margin and self.baseline != earlier.baseline and self.candidate != earlier.candidate

    def repeats(self, earlier: Night) -> bool:
        """Return whether this run is an earlier one again: the same models and items."""
        return (self.baseline, self.candidate, self.items) == (earlier.baseline, earlier.candidate, earlier.items)


_Run = list[Night]
"""A run and its repetitions."""


def items_sketch(item_ids: Iterable[str]) -> frozenset[str]:
    """Return the 64 smallest hashes of item ids.

    Two sets of items that share a proportion J of their union have a common hash with a probability of 1 - (1 - J)^64
    (Broder 1997): 96 % at J = 5 %.
    """
    hashes = {hashlib.sha256(item_id.encode()).hexdigest()[:_DIGITS] for item_id in item_ids}
    return frozenset(sorted(hashes)[:_SKETCH])


def nights_of(records: Sequence[Record]) -> list[Night]:
    """Return the runs of a series as its history has them."""
    return [
        Night(
            record.baseline,
            record.candidate,
            frozenset(record.evidence.items),
            record.evidence.log_e_value,
            record.p_value <= record.alpha,
        )
        for record in records
        if record.evidence is not None
    ]


def spend_evalues(
    alpha: float,
    runs: int,
    runs_per_group: int | None,
    past: Sequence[Night],
    tonight: Night,
    margin: bool = False,
) -> Spending:
    """Return what the earlier runs of a series leave for the next one; `with_tonight` adds the run's own e-value.

    Parameters
    ----------
    alpha : float
        An alarm is evidence of at least 1 / alpha.
    runs : int
        Runs of a period; the evidence starts afresh after a period, and after an alarm.
    runs_per_group : int, optional
        Planned runs that share a model and items. Default: `runs`.
    past : sequence of Night
        The earlier runs, oldest first.
    tonight : Night
        The next run; its e-value is not used.
    margin : bool
        Whether a margin is tested; see `Night.is_fresh`.

    Notes
    -----
    Runs that repeat an earlier one (same models and items) count as one run, whose e-value is their mean: a run that is
    repeated because its e-value is large is no new evidence. Runs that share a model and items are dependent and form a
    group; a run that is independent of all earlier ones starts a new group. If a model of an earlier group returns, the
    groups since then are joined to one. With N runs in a period and n planned runs per group, let S be the sum of the
    e-values of the current group, and S' that of its first n runs. The evidence is S / N + C S' / n, where C is what
    the finished groups left: C = 0 before the first group, and then S / N + C (mean of the first n e-values), with the
    old C on the right.

    At the ends of groups, C + (share of the period that is left) is a nonnegative martingale that starts at 1: the
    mixture over the group with which the product of the groups' means starts. Within a group the evidence is at most C
    at the group's end. Hence P[any alarm in a period] <= alpha (Ville), if models and items are neither replaced nor
    return because of the e-values. With one group, this is Markov's inequality for a mean of e-values, under any
    dependence, and the expected number of alarms in N runs is at most alpha too, because an alarm uses up a sum of
    e-values of N / alpha. A group that was quiet for long lowers C, but not the part S / N, so that a collapse always
    shows.
    """
    groups: list[list[_Run]] = []
    for night in past:
        groups = [] if night.alarm else _placed(groups, night, runs, margin)
    groups = _placed(groups, tonight, runs, margin)
    planned = min(runs, runs_per_group or runs)
    carried = -math.inf
    for group in groups[:-1]:
        own = _log_sum(group) - math.log(runs)
        first = group[:planned]
        carried = float(np.logaddexp(own, carried + _log_sum(first) - math.log(len(first))))
    current = groups[-1]
    number = next(index for index, run in enumerate(current) if run[-1] is tonight)
    others = [run for run in current if run[-1] is not tonight]
    before = others[: planned - 1] if number < planned else others[:planned]
    repeated = [night.log_e_value for night in current[number][:-1]]
    evidence = NightlyEvidence(
        runs=runs,
        runs_per_group=planned,
        run_of_group=number + 1,
        log_carried=None if carried == -math.inf else carried,
        log_sum=_log_sum(others) if others else None,
        log_sum_planned=_log_sum(before) if before else None,
        repeats=len(repeated),
        log_repeated=float(np.logaddexp.reduce(repeated)) if repeated else None,
        items=sorted(tonight.items),
    )
    guarantee = (
        f"if no candidate is worse, the probability of any false alarm in {runs} runs is at most {alpha:g}, and so is "
        "their expected number against one baseline, however dependent the runs are, if models and items are not "
        "replaced because of the evidence; limits on observed values are not included"
    )
    return Spending(
        kind="evalue",
        level=alpha,
        run=len(past) + 1,
        alarms=sum(night.alarm for night in past),
        guarantee=guarantee,
        evidence=evidence,
    )


def with_tonight(spending: Spending, log_e: float) -> tuple[Spending, float]:
    """Return the spending with the run's own e-value, and the p-value of the series: min(1, 1 / evidence)."""
    before = spending.evidence
    if before is None:
        raise ValueError("spending: expected that of `spend_evalues`, found one without evidence")
    own = _plus(before.log_repeated, log_e) - math.log(before.repeats + 1)
    total = _plus(before.log_sum, own) - math.log(before.runs)
    if before.log_carried is not None:
        counts = before.run_of_group <= before.runs_per_group
        planned = _plus(before.log_sum_planned, own if counts else -math.inf)
        total = float(np.logaddexp(total, before.log_carried + planned - math.log(before.runs_per_group)))
    evidence = before.model_copy(update={"log_e_value": log_e, "log_evidence": total})
    return spending.model_copy(update={"evidence": evidence}), math.exp(-max(0.0, total))


def level_of_one_run(spending: Spending, discordant: int) -> float:
    """Return the level of the exact test that alarms where one run does, with no evidence from earlier runs.

    Parameters
    ----------
    discordant : int
        Discordant items of the run, as one task.
    """
    if spending.evidence is None:
        return spending.level
    b = np.arange(discordant + 1)
    enough = log_e_value(b, discordant - b) >= math.log(spending.evidence.runs / spending.level)
    if not enough.any():
        return 2.0 ** -(min(discordant, 1000) + 1)
    return mcnemar_exact(int(b[enough][0]), discordant - int(b[enough][0])).pvalue


def _plus(log_sum: float | None, log_e: float) -> float:
    return log_e if log_sum is None else float(np.logaddexp(log_sum, log_e))


def log_e_value_of(gating: Sequence[Judged], settings: DecisionSettings) -> float:
    """Return the natural logarithm of a run's e-value against "no gating task has dropped by more than its margin".

    It is the e-value of the task, or with several tasks the mean of two e-values: that of all items pooled, which is
    large if every task drops a little, and the mean over the tasks, which is large if one task drops a lot. A mean of
    e-values is an e-value, however dependent they are.
    """
    margins = [task.margin(settings) for task in gating]
    own = [_task_log_e(task.pair, margin) for task, margin in zip(gating, margins, strict=True)]
    if len(own) == 1:
        return own[0]
    mean = float(np.logaddexp.reduce(own)) - math.log(len(own))
    pooled = _pooled_log_e([task.pair for task in gating], margins)
    return float(np.logaddexp(mean, pooled)) - math.log(2.0)


def _task_log_e(pair: PairedTask, margin: float) -> float:
    if margin == 0 and pair.binary and pair.clusters is None:
        return log_e_value(pair.regressions, pair.improvements)
    return log_e_value_of_differences(pair.baseline_score - pair.candidate_score, pair.clusters, margin=margin)


def _pooled_log_e(pairs: Sequence[PairedTask], margins: Sequence[float]) -> float:
    if not any(margins) and all(pair.binary and pair.clusters is None and pair.shared is None for pair in pairs):
        return log_e_value(sum(pair.regressions for pair in pairs), sum(pair.improvements for pair in pairs))
    differences = [pair.baseline_score - pair.candidate_score for pair in pairs]
    # the mean margin over all items: the mean drop cannot exceed it if no task exceeds its own
    margin = sum(own * pair.n for own, pair in zip(margins, pairs, strict=True)) / sum(pair.n for pair in pairs)
    if margin == 0:  # tasks may have different units
        differences = [part / (np.sqrt(np.mean(part[part != 0] ** 2)) if part.any() else 1.0) for part in differences]
    units = np.concatenate(units_over_tasks(pairs))
    return log_e_value_of_differences(np.concatenate(differences), units, margin=margin)


def _placed(groups: list[list[_Run]], night: Night, runs: int, margin: bool) -> list[list[_Run]]:
    """Return the groups of the period with one more night; the first run of a new period is alone."""
    for group in groups:
        for run in group:
            if night.repeats(run[0]):
                run.append(night)
                return groups
    if sum(map(len, groups)) == runs:
        return [[[night]]]
    dependent = (
        index for index, group in enumerate(groups) if not all(night.is_fresh(run[0], margin) for run in group)
    )
    first = next(dependent, len(groups))
    return [*groups[:first], [*(member for group in groups[first:] for member in group), [night]]]


def _log_sum(runs: Sequence[_Run]) -> float:
    """Return the logarithm of the sum of the runs' e-values; that of a repeated run is a mean."""
    means = [np.logaddexp.reduce([night.log_e_value for night in run]) - math.log(len(run)) for run in runs]
    return float(np.logaddexp.reduce(means))
