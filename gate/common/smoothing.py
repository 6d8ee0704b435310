"""Names of the smoothed metrics, and the range of the smoothing."""

from __future__ import annotations

from dataclasses import dataclass

BASES = {"acc_smooth": "acc", "acc_norm_smooth": "acc_norm"}
"""The metric behind each smoothed one."""

DEFAULT_SMOOTHING = 0.2
MOST_SMOOTHING = 0.5


def base_metric(metric: str | None) -> str | None:
    """Return the metric that a model is evaluated with: the one behind a smoothed metric, else the metric itself."""
    return metric if metric is None else BASES.get(metric, metric)


def check_smoothing(nats: float) -> float:
    """Return a smoothing in nats.

    Raises
    ------
    ValueError
        It is not in (0, 0.5].
    """
    if not 0.0 < nats <= MOST_SMOOTHING:
        raise ValueError(
            f"smoothing must be above 0 and at most {MOST_SMOOTHING:g} nats: wider smoothing measures confidence, not "
            f"accuracy, and fails a candidate that is only less certain; found {nats:g}"
        )
    return nats


@dataclass(frozen=True)
class Smoothing:
    """How the scores of a task are smoothed.

    Attributes
    ----------
    metric : str
        A key of `BASES`.
    nats : float
        Standard deviation of the noise over which accuracy is averaged, in (0, 0.5].
    """

    metric: str
    nats: float
