"""Scores of which larger values are better: the sign of a metric is changed where lower values are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gate.common.directions import known_direction, looks_like_an_error
from gate.errors import ConfigError, SampleError
from gate.importers.files import shorten
from gate.importers.reading import Reading

_GENERIC = frozenset(["correct", "score", "reward"])  # names of columns, which tell nothing about the metric


class Directions:
    """Orients the scores of every task, and remembers what it did for the notes."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._negated: dict[str, list[str]] = {}
        self._seen: set[str] = set()

    def orient(
        self,
        task: str,
        metric: str,
        scores: npt.ArrayLike,
        where: str,
        declared: bool | None = None,
        declared_by: str = "",
    ) -> tuple[str, npt.NDArray[np.float64]]:
        """Return the name and the values of a metric, negated and called "-NAME" where lower values are better.

        Parameters
        ----------
        scores : array of shape (n,)
            Finite values.
        where : str
            Names the task or the file in messages.
        declared : bool, optional
            Whether higher values are better according to the evaluation itself; `declared_by` names the file.

        Raises
        ------
        SampleError
            The direction is unknown or contradictory, or is declared only by the evaluation.
        """
        values = np.asarray(scores, dtype=np.float64)
        self._seen |= {task, metric}
        if self._is_lower(task, metric, values, where, declared, declared_by):
            self._negated.setdefault(metric, []).append(task)
            return f"-{metric}", 0.0 - values  # 0.0 - 0.0 is not -0.0
        return metric, values

    def notes(self) -> list[str]:
        """Return one note per negated metric.

        Raises
        ------
        ConfigError
            The user declared the direction of a metric that no task has.
        """
        unused = sorted((self._reading.lower_is_better | self._reading.higher_is_better) - self._seen)
        if unused and self._seen:
            raise ConfigError(
                f"No metric or task that is read has the name {', '.join(unused)}; there are: "
                f"{shorten(sorted(self._seen), 20)}.",
                "Check the spelling of --lower-is-better and --higher-is-better.",
            )
        return [
            f"{shorten(tasks)}: lower values of {metric} are better, so its sign is changed: -{metric}."
            for metric, tasks in self._negated.items()
        ]

    def _is_lower(
        self,
        task: str,
        metric: str,
        values: npt.NDArray[np.float64],
        where: str,
        declared: bool | None,
        declared_by: str,
    ) -> bool:
        for names, lower in ((self._reading.lower_is_better, True), (self._reading.higher_is_better, False)):
            if metric in names or task in names:
                return lower
        known = known_direction(metric)
        outside = bool(np.any((values < 0.0) | (values > 1.0)))
        if declared is False and known != "lower":
            raise SampleError(
                f"{where}: {metric} is better when lower, as {declared_by} says.",
                f"Pass --lower-is-better {metric} to compare it with its sign changed, or choose another metric with "
                "--metric NAME.",
            )
        if declared is True and known == "lower":
            raise SampleError(
                f"{where}: {metric} should be better when lower, but {declared_by} says that higher is better.",
                f"Pass --lower-is-better {metric}, or --higher-is-better {metric}.",
            )
        if declared is True or (known == "higher" and not (metric in _GENERIC and outside and _looks_lower(task))):
            return False
        if known == "lower":
            return True
        reason = "its name does not tell, and it has values outside 0 to 1"
        if looks_like_an_error(metric):
            reason = "its name looks like that of an error or a loss"
        elif known == "higher":
            reason = f"the task's name, {task}, looks like that of an error or a loss"
        elif not outside:
            return False
        raise SampleError(
            f"{where}: it is unknown whether higher or lower values of the metric {metric} are better: {reason}.",
            f"Pass --lower-is-better {metric} or --higher-is-better {metric}.",
        )


def _looks_lower(task: str) -> bool:
    return known_direction(task) == "lower" or looks_like_an_error(task)
