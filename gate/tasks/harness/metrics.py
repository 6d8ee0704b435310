"""Metrics and filters of an lm-eval task, and one score per document, where larger is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gate.common.lm_eval import LIKELIHOOD_PREFIX, LIKELIHOOD_UNITS, lower_is_better, preferred
from gate.errors import TaskError

_PER_DOCUMENT = frozenset(["mean", "nanmean", "median"])
_LIKELIHOODS = frozenset(["perplexity", "weighted_perplexity", "bits_per_byte"])


@dataclass(frozen=True)
class Metric:
    """One metric of a task.

    Attributes
    ----------
    name : str
        lm-eval's name.
    form : {"score", "negated", "loglikelihood"}
        How the value of a document becomes its score: unchanged; with the sign flipped, because lower is better; or,
        for perplexities, as the log-likelihood (nats) per word or byte.
    """

    name: str
    form: Literal["score", "negated", "loglikelihood"]

    @property
    def label(self) -> str:
        """Name of the score; it differs from the metric's name if `form` changes the value."""
        if self.form == "loglikelihood":
            unit = LIKELIHOOD_UNITS.get(self.name)
            return f"{LIKELIHOOD_PREFIX}{unit}" if unit else "loglikelihood"
        return f"-{self.name}" if self.form == "negated" else self.name

    def score(self, value: Any) -> float:
        """Return the score of a document.

        Raises
        ------
        ValueError
            The value is not the score of one document (pairs for F1, texts for BLEU).
        """
        if self.form == "loglikelihood" and isinstance(value, tuple | list) and len(value) == 2:
            total, units = value
            return float(total) / max(float(units), 1.0)
        return -_number(value) if self.form == "negated" else _number(value)


def metrics_of(task: Any, values: Mapping[str, Any] | None, where: str) -> dict[str, Metric]:
    """Return the metrics of an lm-eval task with one score per document, by name.

    `values` is the output of the task's `process_results` for a made-up answer to the first document; None if that
    failed. `where` names the task in messages.

    Raises
    ------
    TaskError
        All metrics are scores of the whole corpus.
    """
    directions: Mapping[str, Any] = task.higher_is_better()
    names = {name: getattr(function, "__name__", "") for name, function in task.aggregation().items()}
    usable: dict[str, Metric] = {}
    other = []
    for name in dict.fromkeys([*names, *(values or {})]):
        aggregation = names.get(name, "mean")
        if aggregation in _LIKELIHOODS:
            metric = Metric(name, "loglikelihood")
        else:
            metric = Metric(name, "negated" if lower_is_better(name, directions.get(name)) else "score")
        if _is_per_document(metric, aggregation, values):
            usable[name] = metric
        else:
            other.append(name)
    if not usable:
        raise TaskError(
            f"{where}: no metric with one score per document (found: {', '.join(other) or 'none'}).",
            "Corpus scores such as F1 or BLEU cannot be paired by sample; use a task with accuracy.",
        )
    return usable


def _is_per_document(metric: Metric, aggregation: str, values: Mapping[str, Any] | None) -> bool:
    if values is None:
        return aggregation in _PER_DOCUMENT | _LIKELIHOODS
    try:
        metric.score(values[metric.name])
    except (KeyError, ValueError):
        return False
    return True


def choose(wanted: str | None, names: Sequence[str], defaults: Sequence[str], what: str, where: str) -> str:
    """Return the wanted name, else the first default that exists, else the first name.

    Raises
    ------
    TaskError
        The wanted name does not exist.
    """
    if wanted is None:
        return preferred(names, defaults) or names[0]
    if wanted not in names:
        raise TaskError(
            f"{where}: it has no {what} {wanted!r} with one value per document.",
            f"Use one of: {', '.join(names)}.",
        )
    return wanted


def _number(value: Any) -> float:
    if isinstance(value, str | bytes | tuple | list | dict) or value is None:
        raise ValueError(f"{value!r} is not one number")
    try:
        return float(value)
    except TypeError as error:
        raise ValueError(str(error)) from None
