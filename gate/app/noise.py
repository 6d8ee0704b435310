"""`gate.noise`: the A/A control alone, without a candidate."""

from __future__ import annotations

import os

from gate.app.control import Again, differences_of, run_on_stack, second_run
from gate.app.control_model import NotPossibleError, with_settings_of
from gate.app.evaluate import baseline_sets
from gate.app.models import load_model, locate_model
from gate.app.reporter import Reporter, SilentReporter
from gate.app.suite import as_loaded, open_suite
from gate.config import LoadedConfig
from gate.decision.noise import Control
from gate.engines import close_engine, require_devices
from gate.errors import ConfigError


def noise(
    config: LoadedConfig | str | os.PathLike[str] = "gate.yml",
    *,
    candidate: str | None = None,
    force: bool = False,
    reporter: Reporter | None = None,
) -> Control:
    """Evaluate the baseline twice and measure how much its answers change; what `gate noise` does.

    If the stack of the cached answers is not that of the candidate's settings (engine, device, dtype, batch settings),
    the second run is the baseline on that stack, which `gate.run` then takes from the store. Otherwise the second run
    answers in other batches. The candidate's files are not needed.

    Parameters
    ----------
    config : path or LoadedConfig, default "gate.yml"
    candidate : str, optional
        Name of the candidate whose settings count, if gate.yml names several. Default: the first.
    force : bool, default False
        Evaluate the second run even if it is cached.
    reporter : Reporter, optional
        Receives messages and progress. Default: silent.

    Returns
    -------
    Control
        `floor.flip_rate` is the noise floor, `floor.p_value` the two-sided p-value of a change in score, and `tasks`
        has one entry per task.

    Raises
    ------
    GateError
        A configuration, task, model or sample set is wrong, or the evaluation cannot be completed.

    Examples
    --------
    >>> import gate
    >>> control = gate.noise("gate.yml")  # doctest: +SKIP
    >>> control.floor.flips, control.floor.items  # doctest: +SKIP
    (9, 1580)
    """
    loaded, reporter = as_loaded(config), reporter or SilentReporter()
    candidates = loaded.config.compared
    if candidate is not None and candidate not in candidates:
        raise ConfigError(f"{loaded.path} has no candidate {candidate}.", f"It has: {', '.join(candidates)}.")
    settings = next(iter(candidates.values())) if candidate is None else candidates[candidate]
    if all(task.judge is not None for task in loaded.config.tasks if task.role == "gating"):
        raise ConfigError(
            "the noise of judged tasks is unknown: a judge compares the baseline with a candidate.",
            "Add a gating task with another scorer.",
        )
    require_devices(loaded.config)
    suite = open_suite(loaded, reporter)
    baseline = locate_model(loaded, loaded.config.baseline)
    cached = baseline_sets(suite, baseline, reporter)
    try:
        model = with_settings_of(suite, baseline, settings, loaded.config.engine_of(settings), settings.dtype)
    except NotPossibleError as error:
        reporter.message(f"  {error}: the baseline answers twice on its own stack")
        model = baseline
    engine = load_model(suite, model, reporter, baseline)
    stack = engine.runtime.stack
    close_engine(engine)
    del engine
    if model is not baseline:  # `gate run` names the dtype that was loaded, and then finds this control in the store
        model = with_settings_of(suite, baseline, settings, model.engine, stack.get("dtype", settings.dtype))
    differences = differences_of(cached, stack)
    if differences:
        run = run_on_stack(suite, model, cached, stack, differences, reporter, Again(force), tokenizers=baseline)
    else:
        run = second_run(suite, baseline, cached, stack, reporter, Again(force))
    control = run.measured(suite)
    assert control is not None  # noqa: S101 - for the type checker
    return control
