"""Which metric or filter to read where a file has several: the user's choice, the only one, or a default."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gate.common.lm_eval import preferred
from gate.errors import SampleError
from gate.importers.files import shorten


class Selection:
    """The metric (or the filter) that is read for each task.

    Parameters
    ----------
    what : str
        "metric" or "filter": the name of the command-line option.
    wanted : str or None
        The user's choice. A task without it falls back to its default, because a folder may mix tasks with different
        metrics; `notes` refuses a choice that no task has.
    defaults : sequence of str
        In order of preference.
    """

    def __init__(self, what: str, wanted: str | None, defaults: Sequence[str]) -> None:
        self.what, self.wanted, self.defaults = what, wanted, defaults
        self._chosen: dict[str, tuple[str, tuple[str, ...]]] = {}

    def choose(
        self, task: str, candidates: Collection[str], where: str | None = None, defaults: Sequence[str] = ()
    ) -> str:
        """Return the wanted candidate, else the only one, else the first default.

        Error messages name `where` instead of the task if it is given. `defaults` of the task replace those of all.

        Raises
        ------
        SampleError
            There are several candidates, but neither the wanted one nor a default is among them.
        """
        names = tuple(sorted(candidates))
        name = self.wanted if self.wanted in names else preferred(names, defaults or self.defaults)
        if len(names) == 1:
            name = names[0]
        if name is None:
            wanted = "" if self.wanted is None else f" and no {self.wanted!r}"
            raise SampleError(
                f"{where or f'task {task}'}: has {len(names)} {self.what}s{wanted}: {', '.join(names)}.",
                f"Choose one with --{self.what} NAME, or name the tasks to compare with --task.",
            )
        self._chosen[task] = (name, names)
        return name

    def notes(self) -> list[str]:
        """Return one note per default used, naming its tasks.

        Raises
        ------
        SampleError
            No task has the user's choice.
        """
        if self.wanted is not None and all(name != self.wanted for name, _ in self._chosen.values()):
            available = sorted({name for _, names in self._chosen.values() for name in names})
            raise SampleError(
                f"No task has the {self.what} {self.wanted!r}. Found: {', '.join(available)}.",
                f"Check the spelling of --{self.what}, or leave it out.",
            )
        tasks: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for task, (name, names) in self._chosen.items():
            if name != self.wanted and (self.wanted is not None or len(names) > 1):
                tasks.setdefault((name, names), []).append(task)
        notes = []
        for (name, names), members in tasks.items():
            reason = f"read the {self.what}" if self.wanted is None else f"no {self.what} {self.wanted}; read"
            others = ", ".join(other for other in names if other != name)
            advice = f" (also available: {others}; choose with --{self.what})" if others else ""
            notes.append(f"{shorten(members)}: {reason} {name}{advice}.")
        return notes
