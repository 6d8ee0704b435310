"""Which metric and which filter to read, where a file holds several: a fixed order, said aloud, or an error."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from gate.errors import SampleError

DEFAULT_METRICS = ("acc", "exact_match", "acc_norm", "prompt_level_strict_acc", "pass@1", "pass_at_1")
"""The first of these that a task has is read, where the user named none. All are right or wrong."""

DEFAULT_FILTERS = ("none", "strict-match", "flexible-extract")
"""Same for filters. `strict-match` (GSM8K): a model that forgets the answer format has become worse too."""


class Reason(Enum):
    """Why a candidate was taken."""

    ONLY = "only"
    WANTED = "wanted"
    DEFAULT = "default"


@dataclass(frozen=True)
class Choice:
    """One of several candidates, and why it was taken."""

    name: str
    reason: Reason
    candidates: tuple[str, ...]


def choose(
    wanted: str | None, candidates: Collection[str], defaults: Sequence[str], *, what: str, where: str
) -> Choice:
    """Take the wanted candidate, else the only one, else the first default.

    Parameters
    ----------
    wanted : str or None
        What the user asked for. A task that lacks it falls back to its default: a folder may mix tasks with
        different metrics; `explain` refuses a name that no task has.
    candidates : collection of str
    defaults : sequence of str
        In order of preference.
    what, where : str
        "metric" or "filter", and the task, for messages.

    Raises
    ------
    SampleError
        Several candidates, none wanted and none a default; the message names them.
    """
    names = tuple(sorted(candidates))
    if wanted is not None and wanted in names:
        return Choice(wanted, Reason.WANTED, names)
    if len(names) == 1:
        return Choice(names[0], Reason.ONLY, names)
    for name in defaults:
        if name in names:
            return Choice(name, Reason.DEFAULT, names)
    asked = "" if wanted is None else f" and no {wanted!r}"
    raise SampleError(
        f"{where}: has {len(names)} {what}s{asked}: {', '.join(names)}.", f"Choose one with --{what} NAME."
    )


def explain(what: str, wanted: str | None, choices: Mapping[str, Choice]) -> list[str]:
    """Return one note per kind of default taken, naming its tasks.

    Raises
    ------
    SampleError
        The user asked for a name that no task has.
    """
    if wanted is not None and not any(choice.name == wanted for choice in choices.values()):
        found = sorted({name for choice in choices.values() for name in choice.candidates})
        raise SampleError(
            f"No task has the {what} {wanted!r}. Found: {', '.join(found)}.",
            f"Check the spelling of --{what}, or leave it out.",
        )
    tasks: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for task, choice in choices.items():
        fell_back = wanted is not None and choice.reason is not Reason.WANTED
        if choice.reason is Reason.DEFAULT or fell_back:
            tasks.setdefault((choice.name, choice.candidates), []).append(task)
    notes = []
    for (name, candidates), members in tasks.items():
        why = f"no {what} {wanted}; read" if wanted is not None else f"read the {what}"
        others = [other for other in candidates if other != name]
        rest = f" (also there: {', '.join(others)}; choose with --{what})" if others else ""
        notes.append(f"{shorten(members)}: {why} {name}{rest}.")
    return notes


def shorten(names: Sequence[str], most: int = 5) -> str:
    """Join names for a message: the first few, and how many more."""
    shown = ", ".join(str(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
