"""Certification: proof that the drop is below a margin (non-inferiority), pooled over the gating tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from gate.config import DecisionSettings
from gate.decision.result import Certification
from gate.decision.rows import EXPECTED_FLIPS, Judged
from gate.samples import PairedTask
from gate.samples.pairing import FloatArray
from gate.stats import noninferiority


def certify(gating: Sequence[Judged], settings: DecisionSettings) -> Certification | None:
    """Test H0 "the drop over all items is at least `settings.certify`"; None where no proof is asked for.

    Notes
    -----
    Independent right-or-wrong items: Tango's score test on the pooled counts. Else, with D the difference of an item
    and u = sum(D - d) over the items of a cluster (an item alone where there are none), z = sum(u) / sqrt(sum(u**2)) is
    referred to the normal distribution. The variance is taken at the margin and never below the smallest that scores
    from 0 to 1 with that mean drop can have, so that a run without flips proves nothing by itself. Both are
    large-sample tests of the mean drop over all items: one task may have dropped by more.
    """
    margin = settings.certify
    if margin is None:
        return None
    pairs = [one.pair for one in gating]
    n = sum(pair.n for pair in pairs)
    if all(one.evidence.is_binary for one in gating):
        b, c = sum(pair.regressions for pair in pairs), sum(pair.improvements for pair in pairs)
        p = noninferiority(b, c, n, margin)
    else:
        units = np.concatenate([_units(pair, margin) for pair in pairs])
        sizes = np.concatenate([_sizes(pair) for pair in pairs])
        # a mean drop of d in scores from 0 to 1 comes with a variance of at least d (1 - d) an item
        variance = max(float(np.dot(units, units)), float(np.dot(sizes, sizes)) * margin * (1.0 - margin))
        p = float(ndtr(units.sum() / math.sqrt(variance)))
    proved = p <= settings.alpha
    needed = None if proved else _items_needed(pairs, n, margin, settings)
    return Certification(margin=margin, p_value=p, certified=proved, items_needed=needed)


def _units(pair: PairedTask, margin: float) -> FloatArray:
    """Return the differences less the margin, summed within clusters."""
    away = pair.baseline_score - pair.candidate_score - margin
    return away if pair.clusters is None else np.bincount(pair.clusters, away).astype(np.float64)


def _sizes(pair: PairedTask) -> FloatArray:
    """Return the number of items of each unit."""
    return np.ones(pair.n) if pair.clusters is None else np.bincount(pair.clusters).astype(np.float64)


def _items_needed(pairs: Sequence[PairedTask], n: int, margin: float, settings: DecisionSettings) -> int:
    """Items for the wanted power if the true drop were 0 and items differed as they did (normal approximation)."""
    square = sum(float(np.square(_units(pair, 0.0)).sum()) for pair in pairs) / n
    # a run without differences does not show that there are none: at least ten flips, and at least a drop's worth
    variance = max(square, min(1.0, EXPECTED_FLIPS / n), margin)
    z = float(ndtri(1 - settings.alpha) + ndtri(settings.power))
    return math.ceil(variance * (z / margin) ** 2)
