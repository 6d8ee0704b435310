"""The steps that commands share: tasks, baseline from the cache or built, candidate, verdict, files."""

from __future__ import annotations

import gc
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gate.cli.console import Screen
from gate.config import EngineSettings, LoadedConfig, ModelSettings
from gate.decision import decide, spend
from gate.engines import Engine, ModelIdentity, ModelSource, fetch, identify, locate, open_engine
from gate.errors import ConfigError, ModelError
from gate.report import Result, build_result, render_markdown, to_json
from gate.samples import ModelSamples, SampleSet, Store, as_samples, pair, write_text
from gate.samples.evaluate import evaluate
from gate.samples.history import Record, append_history, history_lock, read_history
from gate.tasks import Task, build_task, digest


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
        source = locate(settings, self.loaded.folder)
        return Found(source, identify(source, engine, self.loaded.folder), engine)


def plan(loaded: LoadedConfig, screen: Screen) -> Plan:
    """Read the task files and open the store of a gate.yml.

    Raises
    ------
    TaskError, SampleError, ConfigError
        A task file, the store, or its place is wrong.
    """
    config = loaded.config
    if "://" in config.samples.store:
        raise ConfigError(
            f"samples.store: {config.samples.store}: remote stores are not available in this version.",
            "Name a folder.",
        )
    tasks = tuple(build_task(task, config.samples, loaded.folder) for task in config.tasks)
    return Plan(loaded, tasks, Store(loaded.folder / config.samples.store), screen)


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
        if stored is not None:
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
            sets[task.name] = _evaluate(plan, task, engine, found.identity, places[task.name])
    return [sets[task.name] for task in plan.tasks]


def candidate_sets(
    plan: Plan,
    found: Found,
    baseline: Found | None,
    sets: Sequence[SampleSet] = (),
    folder: Path | None = None,
) -> list[SampleSet]:
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

    Raises
    ------
    ModelError, EvaluationError
        The model cannot be loaded or evaluated, or its tokenizer is not the baseline's.
    """
    plan.screen.say(
        f"candidate {found.identity.name}: evaluating {', '.join(task.name for task in plan.tasks)}"
    )
    engine = _open(plan, found, baseline)
    if sets and engine.runtime.tokenizer != sets[0].manifest.model.loaded_tokenizer:
        raise ModelError(
            f"candidate {found.identity.name}: its tokenizer is not the baseline's; the same text would become other "
            "tokens, and the comparison would no longer be of the weights alone.",
            "Set candidate.tokenizer: baseline, or copy the baseline's tokenizer files into the candidate's folder.",
        )
    generates = any(task.settings.kind == "generate_until" for task in plan.tasks)
    if sets and generates and list(engine.runtime.end_tokens) != sets[0].manifest.model.end_tokens:
        raise ModelError(
            f"candidate {found.identity.name}: its texts end at the tokens {list(engine.runtime.end_tokens)}, the "
            f"baseline's at {sets[0].manifest.model.end_tokens}; one would run on where the other stops.",
            "Copy the baseline's generation_config.json into the candidate's folder.",
        )
    measure = bool(sets) and plan.loaded.config.distance.kl
    done = []
    for index, task in enumerate(plan.tasks):
        place = _place(plan, "candidate", found, task) if folder is None else folder / task.name
        reference = sets[index] if measure else None
        done.append(_evaluate(plan, task, engine, found.identity, place, reference))
    return done


def judge(
    plan: Plan,
    baseline: ModelSamples,
    candidate: ModelSamples,
    past: Sequence[Record],
    command: Sequence[str],
    seconds: float,
) -> Result:
    """Pair, test and decide, by the policy of the gate.yml and the earlier runs of its series."""
    config = plan.loaded.config
    pairing = pair(baseline, candidate, [task.name for task in plan.tasks])
    roles = {task.name: task.role for task in config.tasks}
    spending = spend(config.decision, [record.p_value for record in past])
    decision = decide(pairing.tasks, config.decision, config.distance, roles, config.samples.seed, spending)
    return build_result(
        decision,
        pairing,
        baseline,
        candidate,
        config.decision,
        config.samples.seed,
        [shlex.join(command)],
        {"seconds": seconds},
    )


def run(
    loaded: LoadedConfig,
    screen: Screen,
    command: Sequence[str],
    show: Callable[[Result], None],
    force: bool = False,
) -> Result:
    """Do the main job: baseline from the cache or built, candidate, verdict, history and report files.

    Parameters
    ----------
    loaded, screen
    command : sequence of str
        The command line, for the report.
    show : callable
        Given the result before anything of it is written: a full disk must not hide a verdict.
    force : bool
        Evaluate the baseline even where it is cached.

    Raises
    ------
    GateError
        Whatever keeps it from a verdict; see the steps.
    """
    started = time.monotonic()
    planned = plan(loaded, screen)
    config = loaded.config
    # both are found before the first is evaluated: a misspelt candidate must not cost the baseline's GPU time
    baseline, candidate = planned.find(config.baseline), planned.find(config.candidate)
    base = baseline_sets(planned, baseline, force)
    # a damaged set or history shows before the candidate is evaluated
    samples = as_samples(base)
    _past(planned)
    other = as_samples(candidate_sets(planned, candidate, baseline, base))
    with history_lock(planned.store.root):
        result = judge(planned, samples, other, _past(planned), command, time.monotonic() - started)
        show(result)
        write_reports(result, loaded, screen)
        _remember(planned, result)
    return result


def write_reports(result: Result, loaded: LoadedConfig, screen: Screen) -> None:
    """Write the report files that gate.yml names, relative to its folder."""
    settings = loaded.config.report
    for name, text in ((settings.markdown, render_markdown(result)), (settings.json_path, to_json(result))):
        if name is not None:
            write_text(loaded.folder / name, text)
            screen.say(f"wrote {loaded.folder / name}")


def _series(plan: Plan) -> str:
    """Identify what is tested again and again: the gating tasks and the policy, not the models."""
    policy = plan.loaded.config.decision.model_dump(exclude={"draws", "power", "certify", "on_inconclusive"})
    return digest(
        [sorted(task.fingerprint for task in plan.tasks if task.settings.role == "gating"), policy]
    )[:16]


def _past(plan: Plan) -> list[Record]:
    """Return the earlier runs of the series, where alpha is spent over them."""
    spends = plan.loaded.config.decision.alpha_spending is not None
    return read_history(plan.store.root, _series(plan)) if spends else []


def _remember(plan: Plan, result: Result) -> None:
    """Append the run to the store's history, which alpha spending reads."""
    gating = [task for task in result.tasks if task.role == "gating"]
    record = Record(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        series=_series(plan),
        verdict=result.verdict,
        p_value=result.p_value,
        alpha=result.alpha,
        drop=sum(task.drop * task.n for task in gating) / result.items,
        flip_rate=sum(task.regressions + task.improvements for task in gating) / result.items,
        baseline=str(result.baseline["fingerprint"]),
        candidate=str(result.candidate["fingerprint"]),
    )
    append_history(plan.store.root, [record])


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


def _evaluate(
    plan: Plan,
    task: Task,
    engine: Engine,
    identity: ModelIdentity,
    folder: Path,
    baseline: SampleSet | None = None,
) -> SampleSet:
    with plan.screen.progress(task.name, len(task.items)) as progress:
        done = evaluate(task, engine, identity, folder, progress, baseline)
    timings = done.manifest.timings
    rate = f"{timings.items_per_second:.1f} items/s"
    plan.screen.say(f"  {task.name}: {done.manifest.items} items in {timings.seconds:.1f} s ({rate})")
    return done
