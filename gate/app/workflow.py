"""The steps that commands share: tasks, baseline from the cache or built, candidate. The whole job is in `job`."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gate.cli.console import Screen
from gate.config import EngineSettings, LoadedConfig, ModelSettings
from gate.engines import (
    Engine,
    ModelIdentity,
    ModelSource,
    Progress,
    fetch,
    identify,
    locate,
    open_engine,
)
from gate.errors import ConfigError, ModelError
from gate.evaluation.evaluate import Steps, evaluation, finish
from gate.files import write_text
from gate.store import SampleSet, Store
from gate.store.remote import open_store
from gate.tasks import Item, Task, build_suite, digest

if TYPE_CHECKING:
    from gate.decision import EarlyStopping


@dataclass(frozen=True)
class Found:
    """A model that was found and identified, before it is loaded."""

    source: ModelSource
    identity: ModelIdentity
    engine: EngineSettings


@dataclass(frozen=True)
class Plan:
    """What a gate.yml asks for, read and checked before any model is loaded."""

    loaded: LoadedConfig
    tasks: tuple[Task, ...]
    store: Store
    screen: Screen

    def find(self, settings: ModelSettings) -> Found:
        """Find and identify a model."""
        engine = self.loaded.config.engine_of(settings)
        source = locate(settings, self.loaded.folder, engine)
        return Found(source, identify(source, engine, self.loaded.folder), engine)


def plan(loaded: LoadedConfig, screen: Screen) -> Plan:
    """Read the task files and open the store of a gate.yml.

    Raises
    ------
    TaskError, SampleError, ConfigError
        A task file, the store, or its place is wrong.
    """
    config = loaded.config
    tasks = build_suite(config, loaded.folder)
    blind = [task.name for task in tasks if task.settings.role == "gating" and not task.measures_kl]
    if config.distance.max_kl is not None and blind:
        raise ConfigError(
            f"distance.max_kl needs KL divergence, which these tasks do not measure: {', '.join(blind)}.",
            "Make them advisory, or remove max_kl.",
        )
    return Plan(loaded, tasks, open_store(config.samples.store, loaded.folder, screen.say), screen)


def baseline_sets(plan: Plan, found: Found, force: bool = False) -> list[SampleSet]:
    """Return the baseline's set of every task: from the store, else evaluated now. Says which.

    Raises
    ------
    ModelError, EvaluationError, SampleError
        The model cannot be loaded or evaluated, or a stored set is damaged.
    """
    places = {task.name: _place(plan, "baseline", found, task) for task in plan.tasks}
    sets: dict[str, SampleSet] = {}
    for task in plan.tasks:
        stored = (
            None
            if force
            else plan.store.find(places[task.name], found.identity.fingerprint, task.fingerprint)
        )
        if stored is not None and _lacks(plan, task, stored):
            plan.screen.say(f"  {task.name}: the cached baseline has fewer tokens for KL than are asked for")
        elif stored is not None:
            sets[task.name] = stored
    missing = [task for task in plan.tasks if task.name not in sets]
    if sets:
        dates = sorted(one.manifest.created for one in sets.values())
        plan.screen.say(f"baseline {found.identity.name}: {len(sets)} task(s) from the cache (of {dates[0]})")
    if missing:
        plan.screen.say(
            f"baseline {found.identity.name}: evaluating {', '.join(task.name for task in missing)}"
        )
        engine = _open(plan, found, None)
        for task in missing:
            sets[task.name] = _Job(plan, task, engine, found, places[task.name]).run()
            plan.store.publish(sets[task.name])  # at once: a later task may be stopped
    return [sets[task.name] for task in plan.tasks]


@dataclass(frozen=True)
class Answered:
    """A candidate's sets, in the order of the tasks that were evaluated, and what watching them found."""

    sets: list[SampleSet]
    early: EarlyStopping | None = None


def candidate_sets(
    plan: Plan,
    found: Found,
    baseline: Found | None,
    sets: Sequence[SampleSet] = (),
    folder: Path | None = None,
    part: tuple[int, int] | None = None,
    watch: bool = False,
) -> Answered:
    """Evaluate a model afresh on every task.

    Parameters
    ----------
    plan, found
    baseline : Found or None
        Lends its tokenizer where the candidate ships none.
    sets : sequence of SampleSet
        The baseline's, in the order of the tasks: another tokenizer than theirs is an error, and KL divergence is
        measured from the distributions that they hold.
    folder : Path, optional
        Where the sets go, `<folder>/<task>`; default: the store.
    part : (index, of), optional
        Only a part of the items; see `gate.evaluation.evaluate.evaluate`.
    watch : bool
        Stop early where the gate.yml asks for it; needs `sets`.

    Raises
    ------
    ModelError, EvaluationError
        The model cannot be loaded or evaluated, or its tokenizer is not the baseline's.
    """
    names = ", ".join(task.name for task in plan.tasks)
    plan.screen.say(f"candidate {found.identity.name}: evaluating {names}")
    engine = _open(plan, found, baseline)
    if sets:
        _check_alike(plan, engine, found, sets)
    measure = bool(sets) and plan.loaded.config.distance.kl
    if measure and not (engine.runtime.tokenizer and sets[0].manifest.model.loaded_tokenizer):
        # the ids in one side's distributions may be of another vocabulary
        plan.screen.say("  KL divergence is left out: it needs to know both tokenizers")
        measure = False
    home = plan.store.root / "candidate" if folder is None else folder
    marker = home / f".{_digest_of(plan, found, sets, part)}.running"
    since = _begun(marker)
    jobs = [
        _Job(
            plan,
            task,
            engine,
            found,
            _place(plan, "candidate", found, task) if folder is None else folder / _name(task, part),
            sets[index] if measure else None,
            part,
            since,
        )
        for index, task in enumerate(plan.tasks)
    ]
    if watch and plan.loaded.config.decision.early_stop is not None:
        answered = _watch(plan, jobs, sets)
    else:
        answered = Answered([job.run() for job in jobs])
    marker.unlink(missing_ok=True)
    return answered


def _begun(marker: Path) -> str:
    """Return when the run that a marker stands for began: this one, or one that was stopped and is continued."""
    if marker.is_file():
        return marker.read_text(encoding="utf-8").strip()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_text(marker, now)
    return now


def _digest_of(plan: Plan, found: Found, sets: Sequence[SampleSet], part: tuple[int, int] | None) -> str:
    """Identify a candidate's evaluation: the same command gives the same."""
    baseline = [[shard.sha256 for shard in one.manifest.shards] for one in sets]
    tasks = [task.fingerprint for task in plan.tasks]
    return digest([found.identity.fingerprint, tasks, baseline, list(part or ())])[:16]


def _name(task: Task, part: tuple[int, int] | None) -> str:
    """Return the folder's name of a task's set: parts of one task may stand side by side."""
    return task.name if part is None else f"{task.name}.{part[0]}-of-{part[1]}"


def _lacks(plan: Plan, task: Task, stored: SampleSet) -> bool:
    """Tell whether KL divergence is asked for and the baseline keeps fewer tokens than it needs."""
    wanted, kept = plan.loaded.config.distance, stored.manifest.top_tokens
    if not (wanted.kl and task.measures_kl) or kept == "whole":
        return False
    return wanted.kl_top == "whole" or kept < wanted.kl_top


def _watch(plan: Plan, jobs: Sequence[_Job], sets: Sequence[SampleSet]) -> Answered:
    """Evaluate the gating tasks side by side while their flips are watched, then the others, if it goes on."""
    # with scipy, which an evaluation alone does without
    from gate.app.watched import Watched, evaluate_watched

    config = plan.loaded.config
    assert config.decision.early_stop is not None  # noqa: S101 - for the type checker
    gating = [index for index, job in enumerate(jobs) if job.task.settings.role == "gating"]
    with ExitStack() as stack:
        watched = []
        for index in gating:
            progress = stack.enter_context(
                plan.screen.progress(jobs[index].task.name, len(jobs[index].task.items))
            )
            watched.append(Watched(jobs[index].task, sets[index], partial(jobs[index].steps, progress)))
        done, early = evaluate_watched(watched, config.decision.early_stop, config.samples.seed)
    found = dict(zip(gating, done, strict=True))
    if early.stopped:
        plan.screen.say(f"  stopped after {early.items:,} of {early.of:,} items: the candidate is worse")
    else:
        found |= {index: job.run() for index, job in enumerate(jobs) if index not in found}
    return Answered([found[index] for index in sorted(found)], early)


def _check_alike(plan: Plan, engine: Engine, found: Found, sets: Sequence[SampleSet]) -> None:
    """Refuse a candidate that reads or ends texts in another way than the baseline did."""
    baseline, runtime = sets[0].manifest.model, engine.runtime
    # a server may not say which tokenizer it has; the report then notes it
    known = bool(runtime.tokenizer and baseline.loaded_tokenizer)
    if known and runtime.tokenizer != baseline.loaded_tokenizer:
        raise ModelError(
            f"candidate {found.identity.name}: its tokenizer is not the baseline's; the same text would become other "
            "tokens, and the comparison would no longer be of the weights alone.",
            "Set candidate.tokenizer: baseline, or copy the baseline's tokenizer files into the candidate's folder.",
        )
    if not known:
        plan.screen.say(
            "  the engine does not say which tokenizer it has; it is not compared with the baseline's"
        )
    generates = any(task.generates for task in plan.tasks)
    ends = list(runtime.end_tokens)
    if generates and ends and baseline.end_tokens and ends != baseline.end_tokens:
        raise ModelError(
            f"candidate {found.identity.name}: its texts end at the tokens {ends}, the "
            f"baseline's at {baseline.end_tokens}; one would run on where the other stops.",
            "Copy the baseline's generation_config.json into the candidate's folder.",
        )


def _place(plan: Plan, role: str, found: Found, task: Task) -> Path:
    return plan.store.folder(
        role, found.identity.name, found.identity.fingerprint, task.name, task.fingerprint
    )


def _open(plan: Plan, found: Found, baseline: Found | None) -> Engine:
    plan.store.prepare()
    gc.collect()  # the model before this one may hang in a cycle; two need not fit
    lender = None if baseline is None else baseline.source
    source = fetch(found.source, found.engine, plan.loaded.folder, lender)
    return open_engine(source, found.engine)


@dataclass(frozen=True)
class _Job:
    """One task to be put to an engine, and where the set goes."""

    plan: Plan
    task: Task
    engine: Engine
    found: Found
    folder: Path
    reference: SampleSet | None = None
    part: tuple[int, int] | None = None
    since: str | None = None

    def steps(self, progress: Progress, shards: Sequence[Sequence[Item]] | None = None) -> Steps:
        """Evaluate shard by shard."""
        return evaluation(
            self.task,
            self.engine,
            self.found.identity,
            self.folder,
            progress,
            self.reference,
            part=self.part,
            shards=shards,
            top_tokens=self.plan.loaded.config.distance.kl_top if self.plan.loaded.config.distance.kl else 0,
            say=lambda text: self.plan.screen.say(f"  {text}"),
            since=self.since,
        )

    def run(self) -> SampleSet:
        """Evaluate all of it and say how fast it went."""
        items = len(self.task.items) if self.part is None else -(-len(self.task.items) // self.part[1])
        with self.plan.screen.progress(self.task.name, items) as progress:
            done = finish(self.steps(progress))
        timings = done.manifest.timings
        rate = f"{timings.items_per_second:.1f} items/s"
        self.plan.screen.say(
            f"  {self.task.name}: {done.manifest.items} items in {timings.seconds:.1f} s ({rate})"
        )
        return done
