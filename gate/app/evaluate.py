"""The third stage of a run: models answer the tasks, and every answer is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gate.app.divergences import limited_tasks, only_bounds, refuse_unmeasured, too_few_tokens
from gate.app.marker import RUNNING, is_resumed, run_id_of, started_at
from gate.app.models import LocatedModel, check_comparable, opened
from gate.app.prompts import check_prompts
from gate.app.reporter import Reporter
from gate.app.suite import Suite
from gate.engines import Engine
from gate.errors import SampleError
from gate.evaluation.evaluate import TaskEvaluation
from gate.evaluation.recording import Recording
from gate.store import SampleSet
from gate.tasks import Item, Task
from gate.tasks.curation import require_other_model

if TYPE_CHECKING:
    from gate.config import EarlyStop
    from gate.decision import EarlyStopping


@dataclass(frozen=True)
class Evaluated:
    """The sample sets of one model, in the order of the tasks, and the outcome of early stopping.

    Attributes
    ----------
    marker : Path
        File that exists until the caller deletes it at the end of the run: the same command then takes the complete
        sets of an interrupted run.
    early : EarlyStopping or None
    resumed : bool
        Whether an interrupted run is resumed.
    """

    sets: list[SampleSet]
    marker: Path
    early: EarlyStopping | None = None
    resumed: bool = False


def baseline_sets(
    suite: Suite,
    model: LocatedModel,
    reporter: Reporter,
    force: bool = False,
    *,
    title: str = "baseline",
    tokenizers: LocatedModel | None = None,
    reference: Sequence[SampleSet] = (),
    groups: Callable[[Task], list[list[Item]]] | None = None,
    release: Callable[[], None] = lambda: None,
) -> list[SampleSet]:
    """Return the baseline's sample set of every task: cached sets from the store, the others evaluated now.

    Parameters
    ----------
    force : bool
        Evaluate every task, cached or not.
    title : str
        Name of the run in messages.
    tokenizers : LocatedModel, optional
        Provides the tokenizer if the model ships none.
    reference : sequence of SampleSet, optional
        Another run of the baseline, one set per task. KL divergence is then measured from it, instead of storing the
        distributions.
    groups : callable, optional
        Returns the items of each data file of a task. Default: all items in the task's order.
    release : callable, optional
        Called before the model is loaded, to free the memory that another one takes.

    Raises
    ------
    ModelError, EvaluationError, SampleError
        The model cannot be loaded or evaluated, or a stored set is damaged.
    """
    for task in suite.tasks:
        require_other_model(task, model.identity.weights, "baseline")
    name = model.identity.name
    sets: dict[str, SampleSet] = {}
    for task in suite.tasks if not force else ():
        cached = _find_baseline(suite, model, task)
        if cached is None:
            continue
        if not reference and too_few_tokens(suite, cached):
            reporter.message(f"  {task.name}: the cached baseline stores fewer distributions than `distance` asks for")
        else:
            sets[task.name] = cached
            if not reference and only_bounds(suite, cached):
                reporter.message(
                    f"  {task.name}: the cached baseline has no drawn tokens, so KL divergence is a lower bound; "
                    "`gate baseline --force` evaluates it again"
                )
    missing = [task for task in suite.tasks if task.name not in sets]
    if sets:
        oldest = min(cached.manifest.created for cached in sets.values())
        reporter.message(f"{title} {name}: {len(sets)} task(s) from the cache (oldest: {oldest})")
    if missing:
        reporter.message(f"{title} {name}: evaluating {', '.join(task.name for task in missing)}")
        release()
        by_task = dict(zip((task.name for task in suite.tasks), reference, strict=True)) if reference else {}
        with opened(suite, model, reporter, tokenizers) as engine:
            if not engine.runtime.tokenizer:
                limited = limited_tasks(suite.loaded.config).intersection(task.name for task in missing)
                refuse_unmeasured(limited, "the baseline's tokenizer is unknown")
            for task in missing:
                evaluation = TaskEvaluation(
                    task,
                    engine,
                    model.identity,
                    _stored_at(suite, "baseline", model, task),
                    by_task.get(task.name),
                    recording=Recording.of(suite.loaded.config),
                    message=_indented(reporter),
                    role="baseline",
                )
                sets[task.name] = _run(evaluation, reporter, groups and groups(task))
                suite.store.publish(sets[task.name])  # at once: a later task may be interrupted
    return [sets[task.name] for task in suite.tasks]


def cached_baseline(suite: Suite, model: LocatedModel) -> list[SampleSet]:
    """Return the baseline's sample set of every task from the store; raise a SampleError if one is missing."""
    sets = []
    for task in suite.tasks:
        cached = _find_baseline(suite, model, task)
        if cached is None:
            raise SampleError(
                f"the store {suite.store.root} has no samples of the baseline {model.identity.name} for task "
                f"{task.name}.",
                "Run `gate baseline` first, or restore the store that holds them.",
            )
        sets.append(cached)
    return sets


def _find_baseline(suite: Suite, model: LocatedModel, task: Task) -> SampleSet | None:
    folder = _stored_at(suite, "baseline", model, task)
    return suite.store.find(folder, model.identity.fingerprint, task.fingerprint)


def candidate_sets(
    suite: Suite,
    model: LocatedModel,
    reporter: Reporter,
    *,
    baseline: LocatedModel | None = None,
    reference: Sequence[SampleSet] = (),
    folder: Path | None = None,
    shard: tuple[int, int] | None = None,
    early_stop: bool = False,
    name: str | None = None,
    engine: Engine | None = None,
) -> Evaluated:
    """Evaluate a model on every task.

    Parameters
    ----------
    baseline : LocatedModel, optional
        Provides the tokenizer if the candidate ships none.
    reference : sequence of SampleSet
        The baseline's sets, one per task. A different tokenizer is then an error, and KL divergence is measured from
        the distributions that the sets store.
    folder : Path, optional
        Where the sets are written, as `<folder>/<task>`. Default: the store.
    shard : (index, of), optional
        Evaluate only this shard of the items; index counts from 1.
    early_stop : bool
        Stop early if gate.yml asks for it; needs `reference`.
    name : str, optional
        Name among several candidates, which may have the same weights: their sets are stored separately.
    engine : Engine, optional
        The loaded model, which is closed. Default: it is loaded.

    Raises
    ------
    ModelError, EvaluationError
        The model cannot be loaded or evaluated, or its tokenizer is not the baseline's.
    """
    for task in suite.tasks:
        require_other_model(task, model.identity.weights, "candidate")
    tasks = ", ".join(task.name for task in suite.tasks)
    reporter.message(f"candidate {name or model.identity.name}: evaluating {tasks}")
    with opened(suite, model, reporter, baseline, engine) as engine:
        if reference:
            check_comparable(suite, model, engine, reference, reporter)
            check_prompts(suite, model.identity, engine, baseline, reference)
        limited = limited_tasks(suite.loaded.config).intersection(task.name for task in suite.tasks)
        measure_kl = bool(reference) and suite.loaded.config.distance.kl
        if measure_kl and not (engine.runtime.tokenizer and reference[0].manifest.model.loaded_tokenizer):
            # token ids of the stored distributions may belong to another vocabulary
            reason = "it needs both tokenizers to be known"
            refuse_unmeasured(limited, reason)
            reporter.message(f"  KL divergence is not measured: {reason}")
            measure_kl = False
        run_id = run_id_of(suite, model, reference, shard, name)
        marker = (folder or suite.store.root / "candidate") / f".{run_id}{RUNNING}"
        resumed = is_resumed(marker)
        since = started_at(marker)
        evaluations = []
        for index, task in enumerate(suite.tasks):
            # shards of one task may share a parent folder
            part = task.name if shard is None else f"{task.name}.{shard[0]}-of-{shard[1]}"
            evaluation = TaskEvaluation(
                task,
                engine,
                model.identity,
                _stored_at(suite, "candidate", model, task, name) if folder is None else folder / part,
                reference[index] if measure_kl else None,
                shard,
                Recording.of(suite.loaded.config),
                _indented(reporter),
                since,
                limited=measure_kl and task.name in limited,
            )
            evaluations.append(evaluation)
        policy = suite.loaded.config.early_stop
        if early_stop and policy is not None:
            sets, early = _run_monitored(suite, evaluations, reference, policy, reporter)
        else:
            sets, early = [_run(evaluation, reporter) for evaluation in evaluations], None
        return Evaluated(sets, marker, early, resumed)


def _run(evaluation: TaskEvaluation, reporter: Reporter, groups: Sequence[Sequence[Item]] | None = None) -> SampleSet:
    """Evaluate all items of a task and report the throughput."""
    name = evaluation.task.name
    with reporter.progress(name, evaluation.items) as progress:
        sample_set = evaluation.run(progress, groups)
    timings = sample_set.manifest.timings
    reporter.message(
        f"  {name}: {sample_set.manifest.items} items in {timings.seconds:.1f} s "
        f"({timings.items_per_second:.1f} items/s)"
    )
    return sample_set


def _run_monitored(
    suite: Suite,
    evaluations: Sequence[TaskEvaluation],
    reference: Sequence[SampleSet],
    policy: EarlyStop,
    reporter: Reporter,
) -> tuple[list[SampleSet], EarlyStopping]:
    """Evaluate the gating tasks side by side with early stopping, then the advisory tasks unless the run stopped."""
    # imports scipy, which an evaluation alone does not need
    from gate.decision import EarlyStopping
    from gate.evaluation.early_stop import evaluate_monitored

    gating = [index for index, task in enumerate(suite.tasks) if task.settings.role == "gating"]
    with ExitStack() as stack:
        progress = [
            stack.enter_context(reporter.progress(suite.tasks[index].name, evaluations[index].items))
            for index in gating
        ]
        finished, evidence = evaluate_monitored(
            [evaluations[index] for index in gating],
            [reference[index] for index in gating],
            progress,
            policy,
            suite.loaded.config.samples.seed,
        )
    sets = dict(zip(gating, finished, strict=True))
    early = EarlyStopping.model_validate(evidence, from_attributes=True)
    if early.stopped:
        reporter.message(f"  stopped after {early.items:,} of {early.total:,} items: the candidate is worse")
    else:
        sets |= {index: _run(evaluation, reporter) for index, evaluation in enumerate(evaluations) if index not in sets}
    return [sets[index] for index in sorted(sets)], early


def _indented(reporter: Reporter) -> Callable[[str], None]:
    return lambda text: reporter.message(f"  {text}")


def _stored_at(suite: Suite, role: str, model: LocatedModel, task: Task, name: str | None = None) -> Path:
    identity = model.identity
    return suite.store.folder(role, name or identity.name, identity.fingerprint, task.name, task.fingerprint)
