"""`gate.run`: baseline, candidate, verdict, history and report files."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from gate.app.evaluate import baseline_sets, candidate_sets
from gate.app.models import locate_model
from gate.app.reporter import Reporter, SilentReporter
from gate.app.suite import Suite, as_loaded, open_suite
from gate.common.canonical import digest
from gate.common.files import write_text
from gate.config import LoadedConfig
from gate.decision import Decision, EarlyStopping, decide, spend
from gate.engines import require_devices
from gate.report import Result, build_result, render
from gate.report.redact import redact, secrets_of
from gate.samples import ModelSamples, Pairing, pair
from gate.store import as_samples
from gate.store.history import Record, open_history


def run(
    config: LoadedConfig | str | os.PathLike[str] = "gate.yml",
    *,
    force_baseline: bool = False,
    command: Sequence[str] | None = None,
    reporter: Reporter | None = None,
) -> Result:
    """Judge the candidate of a gate.yml against its baseline; what `gate run` does.

    The baseline's samples come from the store, or are evaluated and stored. The report files that gate.yml names are
    written, and the run is appended to the store's history.

    Parameters
    ----------
    config : path or LoadedConfig, default "gate.yml"
    force_baseline : bool, default False
        Evaluate the baseline even if it is cached.
    command : sequence of str, optional
        Command line that reproduces the run, for the report.
    reporter : Reporter, optional
        Receives messages, progress and the result. Default: silent.

    Returns
    -------
    Result
        Secrets of the environment are replaced by `***`.

    Raises
    ------
    GateError
        No verdict is possible: a configuration, task, model or sample set is wrong (exit code 2), or the evaluation
        cannot be completed (exit code 4).

    Examples
    --------
    >>> import gate
    >>> result = gate.run("gate.yml")  # doctest: +SKIP
    >>> result.verdict, result.exit_code  # doctest: +SKIP
    ('PASS', 0)
    """
    started = time.monotonic()
    reporter = reporter or SilentReporter()
    loaded = as_loaded(config)
    settings = loaded.config
    require_devices(settings)
    suite = open_suite(loaded, reporter)
    history, series = open_history(suite.store), _series(suite)
    # both models are located before the first is evaluated: a misspelt candidate must not cost GPU time
    baseline, candidate = (locate_model(loaded, model) for model in (settings.baseline, settings.candidate))
    reference = baseline_sets(suite, baseline, reporter, force_baseline)
    # read before the candidate is evaluated, so that a damaged set or history shows early
    baseline_samples = as_samples(reference)
    spends = settings.decision.alpha_spending is not None
    if spends:
        history.read(series)
    evaluated = candidate_sets(suite, candidate, reporter, baseline=baseline, reference=reference, early_stop=True)
    candidate_samples = as_samples(evaluated.sets)
    with history.lock():
        earlier = history.read(series) if spends else []
        pairing, decision = _judge(suite, baseline_samples, candidate_samples, earlier, evaluated.early)
        result = build_result(
            decision,
            pairing,
            baseline_samples,
            candidate_samples,
            settings.decision,
            settings.samples.seed,
            [shlex.join(command or ["gate", "run", "--config", str(loaded.path)])],
            time.monotonic() - started,
        )
        secrets = _secrets(loaded)
        shown = redact(result, secrets)
        reporter.result(shown)
        for form, name in settings.report.files.items():
            write_text(loaded.folder / name, render(form, result, pairing, secrets))
            reporter.message(f"wrote {loaded.folder / name}")
        history.append(_record(result, series), after=len(earlier) if spends else None)
    return shown


def _judge(
    suite: Suite,
    baseline: ModelSamples,
    candidate: ModelSamples,
    earlier: Sequence[Record],
    early: EarlyStopping | None,
) -> tuple[Pairing, Decision]:
    """Pair the samples, test, and decide by the policy of gate.yml and the earlier runs of its series."""
    config = suite.loaded.config
    stopped = early is not None and early.stopped  # advisory tasks come last and were then not evaluated
    names = [task.name for task in suite.tasks if not stopped or task.name in candidate.tasks]
    pairing = pair(baseline, candidate, names, allow_stopped=stopped)
    roles = {task.name: task.role for task in config.tasks}
    spending = spend(config.decision, [record.p_value for record in earlier])
    decision = decide(pairing.tasks, config.decision, config.distance, roles, config.samples.seed, spending, early)
    return pairing, decision


def _secrets(loaded: LoadedConfig) -> list[str]:
    """Return the values of secret-looking environment variables, and of the API keys that gate.yml names."""
    config = loaded.config
    keys = {config.engine_of(side).api_key_env for side in (config.baseline, config.candidate)}
    return secrets_of(os.environ, *(os.environ.get(key) for key in keys if key is not None))


def _series(suite: Suite) -> str:
    """Identify a series of runs: the gating tasks and the policy, not the models."""
    policy = suite.loaded.config.decision.model_dump(exclude={"draws", "power", "certify", "on_inconclusive"})
    gating = sorted(task.fingerprint for task in suite.tasks if task.settings.role == "gating")
    return digest([gating, policy])[:16]


def _record(result: Result, series: str) -> Record:
    return Record(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        series=series,
        verdict=result.verdict,
        p_value=result.p_value,
        alpha=result.alpha,
        drop=result.drop,
        flip_rate=result.flip_rate,
        baseline=str(result.baseline["fingerprint"]),
        candidate=str(result.candidate["fingerprint"]),
    )
