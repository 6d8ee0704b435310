"""The A/A control: two runs of the baseline show the noise of the evaluation, and what the stack alone changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from gate.config import DecisionSettings
from gate.decision.dependence import flip_interval, joined, links_of, units_over_tasks
from gate.decision.rows import Role, evidence_of
from gate.decision.section import ResultSection
from gate.samples import PairedTask
from gate.samples.noise import divergences
from gate.samples.scores import FloatArray
from gate.stats import Evidence, combine, excess_flips

SHIFT_LEVEL = 0.01
"""Level of the two-sided test for an environment shift."""
EXCESS_LEVEL = 0.05
"""Level of the test for more flips than noise."""
_MAX_DRAWS = 100_000


class TaskNoise(ResultSection):
    """Two runs of the baseline on one task."""

    task: str
    role: Literal["gating", "advisory"]
    n: int = Field(ge=0, description="Items that both runs answered.")
    flips: int = Field(ge=0, description="Items whose score differs between the two runs.")
    flip_rate: float = Field(ge=0, le=1)
    kl_mean: float | None = Field(
        ge=0,
        description="Mean KL divergence between the two runs, in nats; a lower bound at the first token where both are "
        "stored runs. Null where not known.",
    )


class NoiseFloor(ResultSection):
    """Two runs of the baseline over the gating tasks."""

    items: int = Field(ge=0)
    flips: int = Field(ge=0)
    flip_rate: float = Field(ge=0, le=1)
    flip_rate_ci95: tuple[float, float] = Field(
        description="95% interval of the flip rate: Clopper-Pearson, with clusters at the effective number of items."
    )
    kl_mean: float | None = Field(ge=0, description="In nats; null unless every gating task has one.")
    kl_is_bound: bool = Field(
        False,
        description="Whether `kl_mean` is a lower bound at the first token, from distributions that both runs store.",
    )
    drop: float | None = Field(
        description="Mean score of the first run minus that of the second, over the items; null where a score is not a "
        "proportion."
    )
    p_value: float = Field(
        ge=0,
        le=1,
        description="Two-sided p-value of no difference in score: twice the smaller p-value of the deciding rule in "
        "the two directions.",
    )


class Excess(ResultSection):
    """Whether the candidate moved more than noise. A diagnostic: it does not affect the verdict."""

    candidate_alone: int = Field(ge=0, description="u: items on which the two runs of the baseline agree.")
    control_alone: int = Field(ge=0, description="v: items on which the control differs from the other two runs.")
    p_value: float = Field(ge=0, le=1, description="P[Bin(u + v, 1/2) >= u]; with clusters, the sign-flip test.")

    @property
    def moved(self) -> bool:
        """Whether more flips than noise are significant at 5 %."""
        return self.p_value <= EXCESS_LEVEL


class Control(ResultSection):
    """The A/A control of a run."""

    kind: Literal["stack", "repeat", "none"] = Field(
        description="stack: the baseline answered again on the candidate's stack, and the decision compares the "
        "candidate with that run. repeat: the stacks are equal, and the baseline answered a second time in other "
        "batches. none: the stacks differ, but the decision uses the cached baseline."
    )
    differences: dict[str, tuple[str, str]] = Field(
        description="What differs between the stacks of the cached baseline and of the candidate."
    )
    note: str = Field("", description="Why the stacks are not separated from the models; empty where they are.")
    floor: NoiseFloor | None = None
    excess: Excess | None = Field(None, description="Null where no candidate was evaluated.")
    tasks: list[TaskNoise] = Field(default_factory=list)

    @property
    def shifted(self) -> bool:
        """Whether the stack alone changed the baseline's score: an environment shift."""
        return self.kind == "stack" and self.floor is not None and self.floor.p_value <= SHIFT_LEVEL


def noise_floor(
    pairs: Sequence[PairedTask], settings: DecisionSettings, roles: Mapping[str, Role], seed: int
) -> tuple[NoiseFloor, list[TaskNoise]]:
    """Compare two runs of the baseline.

    Parameters
    ----------
    pairs : sequence of PairedTask
        The first run as `baseline`, the second as `candidate`; at least one gating task.
    settings : DecisionSettings
        `rule` and `draws`. The margin does not apply.
    roles : mapping of str to str
        Role by task name; other tasks are gating.
    """
    pairs = joined(pairs, roles)
    rows = [_row(pair, roles.get(pair.task, "gating")) for pair in pairs]
    gating = [pair for pair, row in zip(pairs, rows, strict=True) if row.role == "gating"]
    shown = [row for row in rows if row.role == "gating"]
    items, flips = sum(row.n for row in shown), sum(row.flips for row in shown)
    known = [row.kl_mean * row.n for row in shown if row.kl_mean is not None]
    drop = sum(float((pair.baseline_score - pair.candidate_score).sum()) for pair in gating) / items
    proportions = all(pair.unit == "proportion" for pair in gating)
    floor = NoiseFloor(
        items=items,
        flips=flips,
        flip_rate=flips / items,
        flip_rate_ci95=flip_interval(gating, 0.95),
        kl_mean=sum(known) / items if len(known) == len(shown) else None,
        kl_is_bound=any(pair.positions is None for pair in gating),
        drop=drop if proportions else None,
        p_value=_two_sided(gating, settings, seed),
    )
    return floor, rows


def excess(
    judged: Sequence[PairedTask], noise: Sequence[PairedTask], second: Literal["baseline", "candidate"]
) -> Excess:
    """Test whether the candidate moved more than noise, over the tasks of `judged`.

    Parameters
    ----------
    judged : sequence of PairedTask
        The control as `baseline`, and the candidate; gating tasks only.
    noise : sequence of PairedTask
        Two runs of the baseline, one of which is the control. They have every item of `judged`.
    second : {"baseline", "candidate"}
        The side of `noise` that holds the other run.
    """
    other = {pair.task: pair for pair in noise}
    judged = joined(judged, {})
    runs = [(pair.baseline_score, _scores(other[pair.task], second, pair), pair.candidate_score) for pair in judged]
    control, again, candidate = (np.concatenate(scores) for scores in zip(*runs, strict=True))
    clustered = any(pair.clusters is not None or pair.shared is not None for pair in judged)
    units = np.concatenate(units_over_tasks(judged)) if clustered else None
    result = excess_flips(control, again, candidate, units, rng=0)
    return Excess(candidate_alone=result.candidate_alone, control_alone=result.control_alone, p_value=result.pvalue)


def _row(pair: PairedTask, role: Role) -> TaskNoise:
    kl = divergences(pair)
    flips = pair.regressions + pair.improvements
    return TaskNoise(
        task=pair.task,
        role=role,
        n=pair.n,
        flips=flips,
        flip_rate=flips / pair.n,
        kl_mean=None if kl is None else max(0.0, float(kl.mean())),
    )


def _two_sided(pairs: Sequence[PairedTask], settings: DecisionSettings, seed: int) -> float:
    smallest = 1.0
    for direction in (1.0, -1.0):
        evidences = [_evidence(pair, direction, seed) for pair in pairs]
        result = combine(
            evidences,
            settings.rule,
            n_resamples=min(settings.draws, _MAX_DRAWS),
            rng=seed,
            links=links_of(pairs, seed, reverse=direction < 0),
        )
        smallest = min(smallest, result.pvalue)
    return min(1.0, 2.0 * smallest)


def _evidence(pair: PairedTask, direction: float, seed: int) -> Evidence:
    if direction > 0:
        return evidence_of(pair, seed)
    if pair.binary and pair.clusters is None:
        return Evidence.from_counts(pair.improvements, pair.regressions, pair.n)
    return Evidence.from_differences(pair.candidate_score - pair.baseline_score, pair.clusters, rng=seed)


def _scores(pair: PairedTask, side: Literal["baseline", "candidate"], like: PairedTask) -> FloatArray:
    """Return the scores of one side, in the order of the items of another pair."""
    scores = pair.baseline_score if side == "baseline" else pair.candidate_score
    position = {item: row for row, item in enumerate(pair.baseline.column("item_id").to_pylist())}
    return scores[[position[item] for item in like.baseline.column("item_id").to_pylist()]]
