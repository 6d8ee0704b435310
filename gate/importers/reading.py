"""What the user asked a reader for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gate.errors import ConfigError


@dataclass(frozen=True)
class Reading:
    """Options of `read_foreign`; see there.

    Attributes
    ----------
    tasks : frozenset of str
        Read only these tasks; empty: all.
    lower_is_better, higher_is_better : frozenset of str
        Metrics, or tasks, whose direction the user declared.
    allow_partial : bool
        Leave out samples that ended with an error instead of refusing them.
    model : str or None
        The model of a file with verdicts about several.
    """

    metric: str | None = None
    filter_name: str | None = None
    tasks: frozenset[str] = frozenset()
    lower_is_better: frozenset[str] = frozenset()
    higher_is_better: frozenset[str] = frozenset()
    allow_partial: bool = False
    model: str | None = None

    @classmethod
    def of(
        cls,
        metric: str | None,
        filter_name: str | None,
        tasks: Iterable[str],
        lower_is_better: Iterable[str],
        higher_is_better: Iterable[str],
        allow_partial: bool,
    ) -> Reading:
        """Return the options.

        Raises
        ------
        ConfigError
            A metric is declared as both.
        """
        lower, higher = frozenset(lower_is_better), frozenset(higher_is_better)
        if lower & higher:
            raise ConfigError(
                f"{', '.join(sorted(lower & higher))}: declared as both lower and higher is better.",
                "Keep one of --lower-is-better and --higher-is-better.",
            )
        return cls(metric, filter_name, frozenset(tasks), lower, higher, allow_partial)

    def wants(self, task: str) -> bool:
        """Return whether a task is to be read."""
        return not self.tasks or task in self.tasks
