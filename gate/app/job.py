"""The main job: baseline, candidate, verdict, history, report files."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from gate.app.workflow import Plan, baseline_sets, candidate_sets, plan
from gate.cli.console import Screen
from gate.config import LoadedConfig
from gate.decision import EarlyStopping, decide, spend
from gate.doctor import require_devices
from gate.files import write_text
from gate.report import Result, build_result, render
from gate.report.redact import redact, secrets_of
from gate.samples import ModelSamples, Pairing, pair
from gate.store import as_samples
from gate.store.history import Record, open_history
from gate.tasks import digest


def judge(
    plan: Plan,
    baseline: ModelSamples,
    candidate: ModelSamples,
    past: Sequence[Record],
    command: Sequence[str],
    seconds: float,
    early: EarlyStopping | None = None,
) -> tuple[Result, Pairing]:
    """Pair, test and decide, by the policy of the gate.yml and the earlier runs of its series."""
    config = plan.loaded.config
    stopped = early is not None and early.stopped  # advisory tasks come last and were then left out
    names = [task.name for task in plan.tasks if not stopped or task.name in candidate.tasks]
    pairing = pair(baseline, candidate, names, allow_stopped=stopped)
    roles = {task.name: task.role for task in config.tasks}
    spending = spend(config.decision, [record.p_value for record in past])
    decision = decide(
        pairing.tasks, config.decision, config.distance, roles, config.samples.seed, spending, early
    )
    result = build_result(
        decision,
        pairing,
        baseline,
        candidate,
        config.decision,
        config.samples.seed,
        [shlex.join(command)],
        {"seconds": seconds},
    )
    return result, pairing


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
    require_devices(loaded.config)
    planned = plan(loaded, screen)
    config = loaded.config
    # both are found before the first is evaluated: a misspelt candidate must not cost the baseline's GPU time
    baseline, candidate = planned.find(config.baseline), planned.find(config.candidate)
    base = baseline_sets(planned, baseline, force)
    # a damaged set or history shows before the candidate is evaluated
    samples = as_samples(base)
    _past(planned)
    answered = candidate_sets(planned, candidate, baseline, base, watch=True)
    other = as_samples(answered.sets)
    with open_history(planned.store).lock():
        past = _past(planned)
        seconds = time.monotonic() - started
        result, pairing = judge(planned, samples, other, past, command, seconds, answered.early)
        secrets = _secrets(loaded)
        shown = redact(result, secrets)
        show(shown)
        write_reports(result, pairing, loaded, screen, secrets)
        _remember(planned, result, len(past))
    return shown


def write_reports(
    result: Result, pairing: Pairing, loaded: LoadedConfig, screen: Screen, secrets: Sequence[str]
) -> None:
    """Write the report files that gate.yml names, relative to its folder, without the secrets."""
    for form, name in loaded.config.report.files.items():
        write_text(loaded.folder / name, render(form, result, pairing, secrets))
        screen.say(f"wrote {loaded.folder / name}")


def _secrets(loaded: LoadedConfig) -> list[str]:
    """Return the values of variables that are named like secrets, and of those that gate.yml names as servers' keys."""
    config = loaded.config
    keys = {config.engine_of(side).api_key_env for side in (config.baseline, config.candidate)}
    return secrets_of(os.environ, *(os.environ.get(key) for key in keys if key is not None))


def _series(plan: Plan) -> str:
    """Identify what is tested again and again: the gating tasks and the policy, not the models."""
    policy = plan.loaded.config.decision.model_dump(exclude={"draws", "power", "certify", "on_inconclusive"})
    return digest(
        [sorted(task.fingerprint for task in plan.tasks if task.settings.role == "gating"), policy]
    )[:16]


def _past(plan: Plan) -> list[Record]:
    """Return the earlier runs of the series, where alpha is spent over them."""
    spends = plan.loaded.config.decision.alpha_spending is not None
    return open_history(plan.store).read(_series(plan)) if spends else []


def _remember(plan: Plan, result: Result, past: int) -> None:
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
    spends = plan.loaded.config.decision.alpha_spending is not None
    open_history(plan.store).append(record, after=past if spends else None)
