"""How far a candidate's behaviour is from the baseline's, beyond its scores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gate.samples.along import error_of_mean, measured_positions
from gate.samples.pairing import PairedTask

FloatArray = npt.NDArray[np.float64]


def kl_error(pair: PairedTask) -> float | None:
    """Return the standard error (nats) of the task's mean KL divergence, given its items; see `error_of_mean`.

    0 where all distributions were stored whole; None where a divergence is a lower bound or was not measured.
    """
    positions = measured_positions(pair.candidate)
    return None if positions is None else error_of_mean(positions)


@dataclass(frozen=True)
class TextLikelihood:
    """The likelihood of a text under both models; pairs are (baseline, candidate).

    Attributes
    ----------
    tokens, bytes : int
        Number of scored tokens and UTF-8 bytes.
    per_token, per_byte : pair of float
        Perplexity: exp of minus the log-likelihood per token and per byte.
    probability_change : float or None
        Mean change of the probability of the text's own tokens (proportion); None where single tokens are unknown.
    probability_change_rms : float or None
        Root mean square of it.
    """

    tokens: int
    bytes: int
    per_token: tuple[float, float]
    per_byte: tuple[float, float]
    probability_change: float | None
    probability_change_rms: float | None

    @property
    def ratio(self) -> float:
        """Perplexity per token of the candidate divided by the baseline's."""
        return self.per_token[1] / self.per_token[0]


def is_likelihood(metric: str) -> bool:
    """Return whether the score of an item is the likelihood of a whole text, which always changes: it has no flips."""
    return metric.startswith("loglikelihood_per_")


def text_likelihood(pair: PairedTask) -> TextLikelihood | None:
    """Return the perplexities of a task that measures the likelihood of texts; None for other tasks and other tools."""
    tables = pair.baseline, pair.candidate
    columns = [table.column("choice_logprobs") for table in tables]
    if not is_likelihood(pair.metric) or any(column.null_count for column in columns):
        return None
    tokens = [table.column("tokens_out") for table in tables]
    prompts = pair.baseline.column("prompt")
    if prompts.null_count or any(column.null_count for column in tokens):
        return None
    counts = [int(pc.sum(column).as_py()) for column in tokens]
    size = int(pc.sum(pc.binary_length(prompts.cast(pa.binary()))).as_py())
    totals = [float(pc.sum(pc.list_flatten(column)).as_py()) for column in columns]
    if not all(counts) or not size:
        return None
    single = [table.column("token_logprobs") for table in tables]
    change = None
    if not any(column.null_count for column in single):
        before, after = (np.exp(pc.list_flatten(column).to_numpy().astype(np.float64)) for column in single)
        change = after - before if len(before) == len(after) else None
    return TextLikelihood(
        counts[0],
        size,
        (_exp(-totals[0] / counts[0]), _exp(-totals[1] / counts[1])),
        (_exp(-totals[0] / size), _exp(-totals[1] / size)),
        None if change is None else float(change.mean()),
        None if change is None else float(np.sqrt((change**2).mean())),
    )


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))
