"""Several candidates against one baseline: each is judged by its p-value, adjusted over the candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gate.config import DecisionSettings, DistanceSettings, TaskPolicy
from gate.decision.decide import Tested, conclude, run_tests
from gate.decision.result import Decision
from gate.decision.rows import Role
from gate.decision.run_sections import Adjustment, EarlyStopping
from gate.decision.series import Spending
from gate.decision.shared_units import shared_units
from gate.samples import PairedTask
from gate.stats import holm, step_down

_MOST_DRAWS = 200_000


@dataclass(frozen=True)
class Entrant:
    """One candidate: its pairs with the baseline, and the outcome of its early stop."""

    pairs: Sequence[PairedTask]
    early: EarlyStopping | None = None


def decide_candidates(
    entrants: Mapping[str, Entrant],
    settings: DecisionSettings,
    distance: DistanceSettings | None = None,
    roles: Mapping[str, Role] | None = None,
    seed: int = 0,
    spending: Spending | None = None,
    planned: int | None = None,
    policies: Mapping[str, TaskPolicy] | None = None,
) -> dict[str, Decision]:
    """Judge several candidates, so that alpha limits the probability of any false FAIL of the tests among them.

    Parameters
    ----------
    entrants : mapping of str to Entrant
        The candidates by name. One alone is judged as by `decide`.
    settings, distance, roles, seed, spending, policies
        As for `decide`; the level of `spending` is that of the run, for all candidates together.
    planned : int, optional
        Candidates that share the level for stopping early, if some were not evaluated.

    Returns
    -------
    dict of str to Decision
        `p_value` is adjusted over the candidates.
    """
    share = planned or len(entrants)
    tested = {
        name: run_tests(
            entrant.pairs,
            settings,
            roles=roles,
            seed=seed,
            spending=spending,
            early=entrant.early,
            candidates=share,
            policies=policies,
        )
        for name, entrant in entrants.items()
    }
    if len(tested) == 1:
        return {name: conclude(one, distance) for name, one in tested.items()}
    adjusted = _adjusted(tested, share)
    return {name: conclude(one, distance, adjusted[name]) for name, one in tested.items()}


def _adjusted(tested: Mapping[str, Tested], share: int) -> dict[str, tuple[float, Adjustment]]:
    """Return the adjusted p-value of each candidate, and how it was adjusted.

    Signs that the candidates share need exact symmetry about zero: the tests at a margin and the e-process have other
    null distributions, so their p-values are adjusted by Holm's method. A candidate that was stopped early is rejected
    whatever the others are, by its share of the level (Bonferroni).
    """
    stopped = {name for name, one in tested.items() if one.early is not None and one.early.stopped}
    running = {name: one for name, one in tested.items() if name not in stopped}
    alone = [one.p_value for one in running.values()]
    method: Literal["step-down", "holm"] = "holm"
    draws = 0
    adjusted = holm(alone).tolist() if alone else []
    if len(running) > 1 and not any(one.early or _has_margin(one) for one in tested.values()):
        first = next(iter(running.values()))
        units = shared_units([one.gating for one in running.values()])
        result = step_down(units, alone, first.settings.rule, n_resamples=_draws(first), rng=first.seed)
        adjusted, method, draws = result.pvalue.tolist(), "step-down", result.n_resamples
    values = dict(zip(running, adjusted, strict=True))
    values |= {name: min(1.0, share * tested[name].p_value) for name in stopped}
    return {
        name: (
            values[name],
            Adjustment(candidates=len(tested), p_alone=one.p_value, method=method, draws=draws),
        )
        for name, one in tested.items()
    }


def _has_margin(tested: Tested) -> bool:
    return any(task.margin(tested.settings) > 0.0 for task in tested.gating)


def _draws(tested: Tested) -> int:
    return min(tested.settings.draws, _MOST_DRAWS)
