"""Which of a task's metrics and filters count, and one score a document, larger is better, from its values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gate.errors import TaskError

DEFAULT_METRICS = ("acc", "exact_match", "acc_norm", "prompt_level_strict_acc", "pass@1", "pass_at_1")
"""The first of these that a task has is taken, where the user named none. All are right or wrong."""
DEFAULT_FILTERS = ("none", "strict-match", "flexible-extract")

_UNITS = {"word_perplexity": "word", "byte_perplexity": "byte", "bits_per_byte": "byte"}
_PER_DOCUMENT = frozenset(["mean", "nanmean", "median"])
_LIKELIHOODS = frozenset(["perplexity", "weighted_perplexity", "bits_per_byte"])


@dataclass(frozen=True)
class Metric:
    """One metric of a task.

    Attributes
    ----------
    name : str
        As lm-eval calls it.
    form : {"score", "negated", "loglikelihood"}
        How a document's value becomes its score: as it is; with its sign turned, where lower is better; or, for
        perplexities, the log-likelihood itself (nats) over the number of words or bytes.
    """

    name: str
    form: Literal["score", "negated", "loglikelihood"]

    @property
    def label(self) -> str:
        """Name of the score, which is not the metric's where it was turned into something else."""
        if self.form == "loglikelihood":
            unit = _UNITS.get(self.name)
            return f"loglikelihood_per_{unit}" if unit else "loglikelihood"
        return f"-{self.name}" if self.form == "negated" else self.name

    def score(self, value: Any) -> float:
        """Return a document's score.

        Raises
        ------
        ValueError
            `value` is not of one document alone (pairs for F1, texts for BLEU).
        """
        if self.form == "loglikelihood":
            if isinstance(value, tuple | list) and len(value) == 2:
                total, units = value
                return float(total) / max(float(units), 1.0)
            return _number(value)
        return -_number(value) if self.form == "negated" else _number(value)


def metrics_of(task: Any, values: Mapping[str, Any] | None) -> tuple[dict[str, Metric], list[str]]:
    """Return the metrics of an lm-eval task that give every document a score of its own, and the names of the others.

    Parameters
    ----------
    task : lm_eval.api.task.Task
    values : mapping or None
        What the task's `process_results` gave for a made-up answer to the first document; None where it could not.
    """
    aggregations: Mapping[str, Any] = task.aggregation()
    higher: Mapping[str, Any] = task.higher_is_better()
    names = {name: getattr(function, "__name__", "") for name, function in aggregations.items()}
    usable: dict[str, Metric] = {}
    other = []
    for name in dict.fromkeys([*names, *(values or {})]):
        kind = names.get(name, "mean")
        form: Literal["score", "negated", "loglikelihood"] = "score" if higher.get(name, True) else "negated"
        metric = Metric(name, "loglikelihood" if kind in _LIKELIHOODS else form)
        if values is None:
            fits = kind in _PER_DOCUMENT | _LIKELIHOODS
        else:
            try:
                metric.score(values[name])
                fits = True
            except (KeyError, ValueError):
                fits = False
        if fits:
            usable[name] = metric
        else:
            other.append(name)
    return usable, other


def choose(wanted: str | None, names: Sequence[str], defaults: Sequence[str], what: str, where: str) -> str:
    """Take the wanted name, else the first default that there is, else the first.

    Raises
    ------
    TaskError
        The wanted one is not there.
    """
    if wanted is not None:
        if wanted not in names:
            raise TaskError(
                f"{where}: it has no {what} {wanted!r} with one value a document.",
                f"Use one of: {', '.join(names)}.",
            )
        return wanted
    return next((name for name in defaults if name in names), names[0])


def refuse_none(usable: Collection[str], other: Sequence[str], where: str) -> None:
    """Raise TaskError where a task has only metrics over all documents together."""
    if not usable:
        raise TaskError(
            f"{where}: no metric with one score a document (found: {', '.join(other) or 'none'}).",
            "Corpus scores such as F1 or BLEU cannot be paired sample by sample; use a task with accuracy.",
        )


def _number(value: Any) -> float:
    if isinstance(value, str | bytes | tuple | list | dict) or value is None:
        raise ValueError(f"{value!r} is not one number")
    try:
        return float(value)
    except TypeError as error:
        raise ValueError(str(error)) from None
