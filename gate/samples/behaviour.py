"""How far a candidate's distributions are from the baseline's, beyond the mean KL divergence."""

from __future__ import annotations

import numpy as np

from gate.samples.pairing import PairedTask


def kl_error(pair: PairedTask) -> float | None:
    """Return the standard error (nats) of the task's mean KL divergence over the random draws of stored tokens.

    It says how far the mean is from that over the whole vocabulary on the same items; the choice of items is not part
    of it. 0 where distributions were stored whole; None where the divergence is a lower bound or was not measured.
    """
    column = pair.candidate.column("kl_variance")
    if pair.divergences is None or column.null_count:
        return None
    variance = column.to_numpy().astype(np.float64)
    return float(np.sqrt(variance.sum()) / len(variance))
