"""Which metrics of an LM Evaluation Harness task have one score per sample, and what these scores are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gate.common.lm_eval import DEFAULT_METRICS, LIKELIHOOD_PREFIX, LIKELIHOOD_UNITS, PREDICT_ONLY_METRIC
from gate.errors import SampleError
from gate.importers.harness_rows import HarnessRow

DEFAULTS = (*DEFAULT_METRICS, *LIKELIHOOD_UNITS)
_LOGGED_AS_LIKELIHOOD = frozenset(["perplexity", "weighted_perplexity"])  # exp(-mean) is taken over all samples


class NoScoreError(SampleError):
    """A task has no metric with one score per sample.

    Attributes
    ----------
    way_in : str
        How the task could be compared, to be added to the message; "" if it cannot.
    """

    def __init__(self, message: str, hint: str, way_in: str = "") -> None:
        super().__init__(message, hint)
        self.way_in = way_in


def usable_metrics(rows: Sequence[HarnessRow], wanted: str | None, where: str, likelihoods: bool) -> list[str]:
    """Return the metrics with one number per sample; lists (IFEval per instruction) are not scores.

    A pair [log-likelihood, number of words or bytes] counts if it is `wanted`, or with `likelihoods`.

    Raises
    ------
    NoScoreError
        There is none.
    SampleError
        The wanted metric is a list.
    """
    scalars: dict[str, None] = {}
    lists: dict[str, None] = {}
    pairs: dict[str, None] = {}
    for row in rows:
        for name, value in row.metrics.items():
            kind = pairs if _is_pair(name, value) else lists if isinstance(value, list | dict) else scalars
            kind[name] = None
    scalars.pop(PREDICT_ONLY_METRIC, None)
    names = [name for name in scalars if name not in lists and name not in pairs]
    if likelihoods or wanted in pairs:
        names += [name for name in pairs if name not in lists]
    if wanted is not None and wanted in lists:
        advice = "Log a metric with one number per sample."
        if wanted.startswith("inst_level"):
            advice = "Use prompt_level_strict_acc or prompt_level_loose_acc, which score the whole answer."
        elif names:
            advice = f"Use one of: {', '.join(sorted(names))}."
        raise SampleError(f"{where}: the metric {wanted} is a list in each sample, not one score.", advice)
    if names:
        return names
    if not lists and not pairs:
        raise NoScoreError(
            f"{where}: the samples carry no score; they were logged with --predict_only.",
            "Run lm_eval without --predict_only.",
        )
    found = ", ".join(sorted({*lists, *pairs}))
    way_in = f" To compare it, pass --metric {min(pairs)}, or --task with its name." if pairs else ""
    raise NoScoreError(
        f"{where}: no metric with one score per sample (found: {found}).",
        "Corpus scores (BLEU, F1) cannot be paired by sample; compare a task with accuracy.",
        way_in,
    )


def label_and_values(rows: Sequence[HarnessRow], metric: str) -> tuple[str, list[Any]]:
    """Return the name and the logged value of each row's score.

    lm-eval logs the log-likelihood (nats) where the metric is a perplexity, because the exponential is taken over all
    samples. Such scores are called `loglikelihood`, or `loglikelihood_per_word` after division by the number of words.
    """
    values = [row.metrics.get(metric) for row in rows]
    if metric in LIKELIHOOD_UNITS and all(_is_pair(metric, value) for value in values):
        pairs = [(float(total), max(float(units), 1.0)) for total, units in values]  # type: ignore[misc]
        return f"{LIKELIHOOD_PREFIX}{LIKELIHOOD_UNITS[metric]}", [total / units for total, units in pairs]
    if metric in _LOGGED_AS_LIKELIHOOD and all(isinstance(value, int | float) and value <= 0 for value in values):
        return "loglikelihood", values
    return metric, values


def _is_pair(name: str, value: object) -> bool:
    """Return whether a value is the log-likelihood of a text and its number of words or bytes."""
    if name not in LIKELIHOOD_UNITS or not isinstance(value, list) or len(value) != 2:
        return False
    try:
        return [float(entry) for entry in value] != []
    except (TypeError, ValueError, OverflowError):
        return False
