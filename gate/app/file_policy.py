"""The policy of a comparison of files: keyword arguments, a gate.yml, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gate.app.judge import Policy
from gate.app.policy import DecisionKeywords, decision_settings
from gate.config import DecisionSettings, DistanceSettings
from gate.decision.rows import Role
from gate.errors import ConfigError

if TYPE_CHECKING:  # a comparison without a gate.yml does not load its other sections
    from gate.config import LoadedConfig

_SERIES = ("alpha_spending", "early_stop")  # need a history, or an evaluation


@dataclass(frozen=True)
class FilePolicy:
    """How files are judged.

    Attributes
    ----------
    names : list of str or None
        The tasks to compare, in order; None: all.
    notes : tuple of str
        What of a gate.yml or of the files is left out.
    """

    policy: Policy
    names: list[str] | None = None
    notes: tuple[str, ...] = ()


def file_policy(
    loaded: LoadedConfig | None,
    decision: DecisionKeywords,
    distance: Mapping[str, float | None],
    *,
    tasks: Sequence[str],
    advisory: Sequence[str],
    seed: int | None,
    available: Sequence[str],
    allow_partial: bool,
) -> FilePolicy:
    """Return the policy: that of gate.yml, if there is one, with the keys that are given replaced.

    Parameters
    ----------
    loaded : LoadedConfig or None
        Its `decision`, `distance` and `samples.seed` apply, and the role and policy of every task; its models do not.
    decision, distance
        Keys of these sections; None in `distance` means that the limit is not given.
    tasks, advisory : sequence of str
        Compare only these tasks; report these, but do not judge by them.
    available : sequence of str
        Tasks in the files.
    allow_partial : bool
        Leave out tasks of gate.yml that the files lack, instead of raising.

    Raises
    ------
    ConfigError
        A name is not in the files or not in gate.yml, or a setting is unknown or out of range.
    """
    unknown = sorted({*tasks, *advisory} - set(available))
    if unknown:
        raise ConfigError(f"no such task in the files: {', '.join(unknown)}; they have: {', '.join(available)}.")
    limits: dict[str, Any] = {key: limit for key, limit in distance.items() if limit is not None}
    roles: dict[str, Role] = dict.fromkeys(advisory, "advisory")
    if loaded is None:
        policy = Policy(decision_settings(decision), DistanceSettings(**limits), roles, seed or 0)
        return FilePolicy(policy, list(tasks) or None)
    config = loaded.config
    settings = decision_of(loaded, decision)
    names, notes = _names(loaded, tasks, available, allow_partial)
    notes += [
        f"{key} of {loaded.path} does not apply to files; the level of this comparison is {settings.alpha:g}."
        for key in _SERIES
        if getattr(config.decision, key) is not None
    ]
    policy = Policy(
        settings,
        config.distance.model_copy(update=limits),
        {task.name: task.role for task in config.tasks} | roles,
        config.samples.seed if seed is None else seed,
        {task.name: task for task in config.tasks},
        {task.name: task.smoothed for task in config.tasks if task.smoothed is not None},
        accept=config.accept,
    )
    return FilePolicy(policy, names, tuple(notes))


def decision_of(loaded: LoadedConfig, decision: DecisionKeywords) -> DecisionSettings:
    """Return the `decision` section of a gate.yml for one run, with the keys that are given replaced."""
    own: Any = loaded.config.decision.model_dump(exclude=set(_SERIES))
    return decision_settings({**own, **decision})


def directions(loaded: LoadedConfig | None) -> tuple[set[str], set[str]]:
    """Return the tasks that a gate.yml declares as lower is better, and as higher is better."""
    tasks = [] if loaded is None else loaded.config.tasks
    lower = {task.name for task in tasks if task.lower_is_better is True}
    return lower, {task.name for task in tasks if task.lower_is_better is False}


def _names(
    loaded: LoadedConfig, tasks: Sequence[str], available: Sequence[str], allow_partial: bool
) -> tuple[list[str], list[str]]:
    """Return the tasks of gate.yml to compare, and notes on what is left out."""
    known = [task.name for task in loaded.config.tasks]
    if tasks:
        foreign = [name for name in tasks if name not in known]
        if foreign:
            raise ConfigError(f"{loaded.path} has no task {', '.join(foreign)}; it has: {', '.join(known)}.")
        return list(tasks), []
    missing = [name for name in known if name not in available]
    if missing and (not allow_partial or len(missing) == len(known)):
        raise ConfigError(
            f"the files lack tasks of {loaded.path}: {', '.join(missing)}; they have: {', '.join(available)}.",
            "Name the tasks to compare with --task, or leave the missing ones out with --allow-partial.",
        )
    extra = [name for name in available if name not in known]
    notes = [f"tasks of {loaded.path} that the files lack are left out: {', '.join(missing)}."] if missing else []
    notes += [f"tasks that {loaded.path} does not name are left out: {', '.join(extra)}."] if extra else []
    return [name for name in known if name in available], notes
