"""How far a candidate's behaviour is from the baseline's, beyond its scores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gate.common.lm_eval import LIKELIHOOD_PREFIX
from gate.samples.pairing import PairedTask

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TextLikelihood:
    """The likelihood of a text under both models; pairs are (baseline, candidate).

    Attributes
    ----------
    units : dict of str to int
        Size of the text in each unit that is known: tokens (the baseline's), bytes (UTF-8), words. At least one.
    perplexity : dict of str to pair of float
        exp of minus the log-likelihood per unit, by the same names.
    probability_change : float or None
        Mean change of the probability of the text's own tokens (proportion); None where single tokens are unknown.
    probability_change_rms : float or None
        Root mean square of it.
    """

    units: dict[str, int]
    perplexity: dict[str, tuple[float, float]]
    probability_change: float | None
    probability_change_rms: float | None


def is_likelihood(metric: str) -> bool:
    """Return whether the score of an item is the likelihood of a whole text, which always changes: it has no flips."""
    return metric.startswith(LIKELIHOOD_PREFIX)


def text_likelihood(pair: PairedTask) -> TextLikelihood | None:
    """Return the perplexities of a task that measures the likelihood of texts; None for other tasks and other tools."""
    tables = pair.baseline, pair.candidate
    columns = [table.column("choice_logprobs") for table in tables]
    if not is_likelihood(pair.metric) or any(column.null_count for column in columns):
        return None
    totals = [float(pc.sum(pc.list_flatten(column)).as_py()) for column in columns]
    tokens = [_total(table, "tokens_out") for table in tables]  # tokenizers may differ
    size, words = (max(_total(table, name) for table in tables) for name in ("text_bytes", "text_words"))
    size = size or _prompt_bytes(pair.baseline)  # older versions stored neither
    sizes = {"tokens": (tokens[0], tokens[1]), "bytes": (size, size), "words": (words, words)}
    known = {unit: both for unit, both in sizes.items() if all(both)}
    if not known:
        return None
    single = [table.column("token_logprobs") for table in tables]
    change = None
    if not any(column.null_count for column in single):
        before, after = (np.exp(pc.list_flatten(column).to_numpy().astype(np.float64)) for column in single)
        change = after - before if len(before) == len(after) else None
    return TextLikelihood(
        {unit: own for unit, (own, _) in known.items()},
        {unit: (_exp(-totals[0] / a), _exp(-totals[1] / b)) for unit, (a, b) in known.items()},
        None if change is None else float(change.mean()),
        None if change is None else float(np.sqrt((change**2).mean())),
    )


def _total(table: pa.Table, name: str) -> int:
    """Return the sum of a column; 0 where a value is unknown."""
    column = table.column(name)
    return 0 if column.null_count else int(pc.sum(column).as_py() or 0)


def _prompt_bytes(table: pa.Table) -> int:
    """Return the size of the prompts, which the texts are; 0 where one is unknown."""
    prompts = table.column("prompt")
    return 0 if prompts.null_count else int(pc.sum(pc.binary_length(prompts.cast(pa.binary()))).as_py() or 0)


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))
