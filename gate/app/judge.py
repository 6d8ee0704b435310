"""Answers of the baseline and of one or several candidates to verdicts, without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gate.common.smoothing import Smoothing
from gate.config import DecisionSettings, DistanceSettings, TaskPolicy
from gate.decision import Decision, EarlyStopping, Spending
from gate.decision.candidates import Entrant, decide_candidates
from gate.decision.dependence import joined
from gate.decision.rows import Role
from gate.decision.slices import SliceValues, slice_results
from gate.errors import GateError
from gate.samples import ModelSamples, Pairing, pair
from gate.samples.smoothing import smoothed

if TYPE_CHECKING:
    from gate.app.control import ControlRun
    from gate.config.accept import AcceptSettings


@dataclass(frozen=True)
class Answers:
    """The answers of a candidate, and those of the baseline that they are compared with."""

    baseline: ModelSamples
    candidate: ModelSamples
    early: EarlyStopping | None = None
    control: ControlRun | None = None


@dataclass(frozen=True)
class Policy:
    """What decides: see `gate.decision.decide`."""

    decision: DecisionSettings
    distance: DistanceSettings
    roles: Mapping[str, Role]
    seed: int
    tasks: Mapping[str, TaskPolicy] = field(default_factory=dict)
    smoothing: Mapping[str, Smoothing] = field(default_factory=dict)
    slices: SliceValues = field(default_factory=dict)
    accept: Sequence[AcceptSettings] = ()


@dataclass(frozen=True)
class Judged:
    """A candidate's answers paired with the baseline's, and the verdict on them."""

    answers: Answers
    pairing: Pairing
    decision: Decision


def judge(
    answers: Mapping[str, Answers],
    policy: Policy,
    tasks: Sequence[str] | None = None,
    *,
    allow_partial: bool = False,
    spending: Spending | None = None,
    planned: int | None = None,
) -> dict[str, Judged]:
    """Pair the answers of each candidate with the baseline's, test, and decide over all candidates.

    Parameters
    ----------
    answers : mapping of str to Answers
        By candidate.
    tasks : sequence of str, optional
        Judge by these tasks. Default: all.
    allow_partial : bool
        Compare the items that both sides have.
    spending, planned
        See `gate.decision.candidates.decide_candidates`.

    Raises
    ------
    SampleError, ConfigError
        The two sides do not pair, or no task is gating.
    """
    pairings = {}
    for name, one in answers.items():
        try:
            pairings[name] = paired(one, policy, tasks, allow_partial)
        except GateError as error:
            if len(answers) > 1:
                error.message = f"candidate {name}: {error.message}"
            raise

    def decide(entrants: Mapping[str, Entrant], policies: Mapping[str, TaskPolicy]) -> dict[str, Decision]:
        return decide_candidates(
            entrants,
            policy.decision,
            distance=policy.distance,
            roles=policy.roles,
            seed=policy.seed,
            spending=spending,
            planned=planned,
            policies=policies,
        )

    entrants = {name: Entrant(pairing.tasks, answers[name].early) for name, pairing in pairings.items()}
    decisions = decide(entrants, policy.tasks)
    if policy.accept:
        from gate.decision.accept import with_accepted

        today = datetime.now(UTC).date()
        decisions = with_accepted(
            decisions, entrants, policy.accept, policy.decision, policy.tasks, again=decide, today=today
        )
    if policy.slices:
        decisions = {name: _sliced(decision, pairings[name], policy) for name, decision in decisions.items()}
    return {name: Judged(answers[name], pairings[name], decision) for name, decision in decisions.items()}


def paired(
    answers: Answers, policy: Policy, tasks: Sequence[str] | None = None, allow_partial: bool = False
) -> Pairing:
    """Pair a candidate's answers with the baseline's, with the scores that the policy asks for.

    Raises
    ------
    SampleError
        The two sides do not pair.
    """
    scales = {name: (own.scale[0], own.scale[1]) for name, own in policy.tasks.items() if own.scale is not None}
    stopped = answers.early is not None and answers.early.stopped
    if tasks is not None and stopped:  # advisory tasks come last and were then not evaluated
        tasks = [name for name in tasks if name in answers.candidate.tasks]
    answers = _smoothed(answers, policy.smoothing)
    return pair(answers.baseline, answers.candidate, tasks, allow_partial, allow_stopped=stopped, scales=scales)


def _smoothed(answers: Answers, smoothing: Mapping[str, Smoothing]) -> Answers:
    if not smoothing:
        return answers
    return replace(
        answers,
        baseline=smoothed(answers.baseline, smoothing),
        candidate=smoothed(answers.candidate, smoothing),
    )


def _sliced(decision: Decision, pairing: Pairing, policy: Policy) -> Decision:
    pairs = joined(pairing.tasks, policy.roles)
    return decision.model_copy(update={"slices": slice_results(pairs, policy.slices, policy.seed)})
