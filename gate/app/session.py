"""The stages of a run: the models are located, the baseline's answers are read or made, each candidate answers."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gate.app.control import controlled_sets
from gate.app.divergences import require_measurable
from gate.app.evaluate import Evaluated, baseline_sets
from gate.app.judge import Answers, Judged, Policy, judge
from gate.app.judged import with_judgements
from gate.app.models import LocatedModel, locate_model
from gate.app.report_files import refuse_overlaps
from gate.app.reporter import Reporter
from gate.app.suite import Suite, open_suite
from gate.common.canonical import digest
from gate.config import LoadedConfig
from gate.decision import Spending, spend
from gate.decision.nightly import Night, items_sketch, nights_of, spend_evalues
from gate.engines import require_devices
from gate.report import Result, build_result
from gate.report.redact import secrets_of
from gate.samples import ModelSamples
from gate.store import SampleSet, as_samples
from gate.store.history import LocalHistory, Record, RemoteHistory, open_history, pvalues_of_runs
from gate.tasks import Task
from gate.tasks.file_task import FileTask


@dataclass(frozen=True)
class Session:
    """A run of a gate.yml: checked, with its store open and its baseline located."""

    suite: Suite
    history: LocalHistory | RemoteHistory
    series: str
    baseline: LocatedModel
    reporter: Reporter
    command: str
    started: float

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def spends(self) -> bool:
        """Whether the level of the run depends on the earlier runs of its series."""
        return self.suite.loaded.config.decision.alpha_spending is not None

    @property
    def secrets(self) -> list[str]:
        """The values of secret-looking environment variables, and of the API keys that gate.yml names."""
        config = self.suite.loaded.config
        keys = {config.engine_of(model).api_key_env for model in config.models.values()}
        keys |= {task.judge.api_key_env for task in config.tasks if task.judge is not None}
        return secrets_of(os.environ, *(os.environ.get(key) for key in keys if key is not None))


@dataclass(frozen=True)
class Reference:
    """The baseline's answers."""

    sets: list[SampleSet]
    samples: ModelSamples
    forced: bool = False


def open_session(loaded: LoadedConfig, command: Sequence[str] | None, reporter: Reporter) -> Session:
    """Check the machine and gate.yml, open the store, and locate the baseline; nothing is evaluated."""
    started = time.monotonic()
    folder, config = loaded.folder, loaded.config
    refuse_overlaps(
        {f"report.{form}": folder / name for form, name in config.report.files.items()},
        [loaded.path, *(folder / task.file for task in config.tasks if task.file is not None)],
    )
    require_devices(config)
    suite = open_suite(loaded, reporter)
    require_measurable(suite)
    return Session(
        suite,
        open_history(suite.store),
        _series(suite),
        locate_model(loaded, loaded.config.baseline),
        reporter,
        shlex.join(command or ["gate", "run", "--config", str(loaded.path)]),
        started,
    )


def answer_baseline(session: Session, force: bool = False) -> Reference:
    """Return the baseline's answers, from the store or evaluated now.

    The answers and the history are read before a candidate is evaluated, so that damaged ones show early.
    """
    sets = baseline_sets(session.suite, session.baseline, session.reporter, force)
    samples = as_samples(sets)
    if session.spends:
        session.history.read(session.series)
    return Reference(sets, samples, force)


def answer_candidate(
    session: Session, model: LocatedModel, reference: Reference, name: str | None = None
) -> tuple[Answers, Evaluated]:
    """Evaluate a candidate; return its answers and its sample sets. `name` is its name where there are several."""
    evaluated, control = controlled_sets(
        session.suite, model, session.reporter, session.baseline, reference.sets, force=reference.forced, name=name
    )
    # the decision uses the control where there is one, whatever the cached answers say
    compared = reference.samples if control.reference is reference.sets else as_samples(control.reference)
    answers = Answers(compared, as_samples(evaluated.sets), evaluated.early, control)
    loaded = session.suite.loaded
    return with_judgements(answers, loaded.config, loaded.folder, session.reporter), evaluated


def judge_session(
    session: Session, answers: Mapping[str, Answers], earlier: Sequence[Record]
) -> tuple[dict[str, Judged], dict[str, Result]]:
    """Return the verdict on each candidate by the policy of gate.yml and the earlier runs of the series."""
    config = session.suite.loaded.config
    policy = Policy(
        config.decision,
        config.distance,
        {task.name: task.role for task in config.tasks},
        config.samples.seed,
        {task.name: task for task in config.tasks},
        {task.name: task.smoothed for task in config.tasks if task.smoothed is not None},
        {task.name: task.slices for task in session.suite.tasks if isinstance(task, FileTask) and task.slices},
        config.accept,
    )
    judged = judge(
        answers,
        policy,
        [task.name for task in session.suite.tasks],
        spending=_spending(session, answers, earlier),
        planned=len(config.compared),
    )
    results = {
        name: build_result(
            one.decision,
            one.pairing,
            one.answers.baseline,
            one.answers.candidate,
            config.decision,
            config.samples.seed,
            [session.command],
            session.seconds,
            policies={task.name: task for task in config.tasks},
            control=None if one.answers.control is None else one.answers.control.measured(session.suite, one.pairing),
        )
        for name, one in judged.items()
    }
    return judged, results


def _spending(session: Session, answers: Mapping[str, Answers], earlier: Sequence[Record]) -> Spending | None:
    """Return what the earlier runs of the series leave for this one."""
    settings = session.suite.loaded.config.decision
    policy = settings.alpha_spending
    margins = [task.settings.margin or 0.0 for task in session.suite.tasks]
    if policy is None or policy.kind != "evalue":
        return spend(settings, pvalues_of_runs(earlier), margins)
    (one,) = answers.values()  # gate.yml with several candidates is refused
    gating = (task.name for task in session.suite.tasks if task.settings.role == "gating")
    columns = (one.baseline.tasks[name].table.column("item_id").to_pylist() for name in gating)
    items = items_sketch(item for column in columns for item in column)
    baseline, candidate = (str(side.about["fingerprint"]) for side in (one.baseline, one.candidate))
    tonight = Night(baseline, candidate, items)
    past, margin = nights_of(earlier), settings.margin > 0 or any(margins)
    return spend_evalues(settings.alpha, policy.runs, policy.runs_per_baseline, past, tonight, margin)


def _series(suite: Suite) -> str:
    """Identify a series of runs: the gating tasks and the policy, not the models.

    E-values continue when a task gets fresh items, so their tasks are identified by name.
    """
    policy = suite.loaded.config.decision.model_dump(
        exclude={"draws", "power", "certify", "on_inconclusive", "control"}
    )
    spending = suite.loaded.config.decision.alpha_spending
    by_name = spending is not None and spending.kind == "evalue"
    gating = sorted(
        (task.name if by_name else task.fingerprint) + _smoothing(task)
        for task in suite.tasks
        if task.settings.role == "gating"
    )
    margins = {task.name: task.settings.margin for task in suite.tasks if task.settings.margin is not None}
    return digest([gating, policy, *([margins] if margins else [])])[:16]


def _smoothing(task: Task) -> str:
    own = task.settings.smoothed
    return "" if own is None else f" {own.metric} {own.nats:g}"
