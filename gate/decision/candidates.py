"""Several candidates against one baseline: each is judged by its p-value, adjusted over the candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gate.config import DecisionSettings, DistanceSettings, TaskPolicy
from gate.decision.decide import Tested, conclude, run_tests
from gate.decision.result import Adjustment, Decision, EarlyStopping, Spending
from gate.decision.rows import Role
from gate.samples import PairedTask
from gate.stats import holm


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
    """Return the adjusted p-value of each candidate, and how it was adjusted."""
    running = {name: one for name, one in tested.items() if one.early is None or not one.early.stopped}
    values = {name: min(1.0, share * one.p_value) for name, one in tested.items() if name not in running}
    if running:
        values |= zip(running, holm([one.p_value for one in running.values()]).tolist(), strict=True)
    return {
        name: (
            values[name],
            Adjustment(candidates=len(tested), p_alone=one.p_value, method="holm", draws=0),
        )
        for name, one in tested.items()
    }
