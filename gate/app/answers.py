"""Evaluate one model, outside a comparison: what `gate baseline` and `gate evaluate` do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from gate.app.evaluate import baseline_sets, cached_baseline, candidate_sets
from gate.app.models import locate_model
from gate.app.reporter import Reporter, SilentReporter
from gate.app.suite import as_loaded, open_suite
from gate.config import LoadedConfig, ModelSettings
from gate.errors import ConfigError
from gate.samples import ModelSamples
from gate.store import SampleSet, as_samples


def evaluate(
    config: LoadedConfig | str | os.PathLike[str] = "gate.yml",
    model: str | os.PathLike[str] | ModelSettings | None = None,
    *,
    out: str | os.PathLike[str],
    kl: bool = False,
    reporter: Reporter | None = None,
) -> ModelSamples:
    """Evaluate a model on the tasks of a gate.yml and return its samples; what `gate evaluate` does.

    Parameters
    ----------
    config : path or LoadedConfig, default "gate.yml"
    model : path, hub name or ModelSettings, optional
        Default: the candidate of gate.yml; where it has several, the name of one.
    out : path
        Folder that the sample sets are written to, one folder per task. An interrupted call resumes.
    kl : bool, default False
        Measure KL divergence from the baseline's samples in the store.
    reporter : Reporter, optional
        Receives messages and progress. Default: silent.

    Raises
    ------
    GateError
        See `gate.run`.

    Examples
    --------
    >>> import gate
    >>> samples = gate.evaluate("gate.yml", "./out/model-awq", out="answers")  # doctest: +SKIP
    >>> samples.to_pandas().groupby("task").score.mean()  # doctest: +SKIP
    """
    loaded = as_loaded(config)
    settings = model if isinstance(model, ModelSettings) else model_settings(loaded, model)
    return as_samples(evaluate_model(loaded, settings, Path(out), reporter or SilentReporter(), kl=kl))


def model_settings(
    loaded: LoadedConfig,
    model: str | os.PathLike[str] | None,
    default: Literal["baseline", "candidate"] = "candidate",
    **overrides: object,
) -> ModelSettings:
    """Return the settings of a model to evaluate.

    Parameters
    ----------
    model : path or hub name, optional
        A path is relative to the current folder; the name of one of several candidates means that candidate. Default:
        the model of gate.yml in the role `default`.
    **overrides
        dtype, revision, gguf_file or tokenizer; a value of None changes nothing.
    """
    candidates = loaded.config.compared
    if model is None:
        settings = loaded.config.baseline if default == "baseline" else _only(candidates)
    elif str(model) in candidates and loaded.config.candidates:
        settings = candidates[str(model)]
    else:
        local = Path(model).expanduser()
        settings = ModelSettings(model=str(local.resolve()) if local.exists() else str(model))
    changed = {key: value for key, value in overrides.items() if value is not None}
    return settings.model_copy(update=changed)


def _only(candidates: Mapping[str, ModelSettings]) -> ModelSettings:
    """Return the candidate of a gate.yml that names one."""
    if len(candidates) > 1:
        raise ConfigError(f"gate.yml names {len(candidates)} candidates.", f"Name one of: {', '.join(candidates)}.")
    return next(iter(candidates.values()))


def evaluate_model(
    loaded: LoadedConfig,
    settings: ModelSettings,
    out: Path,
    reporter: Reporter,
    *,
    kl: bool = False,
    shard: tuple[int, int] | None = None,
) -> list[SampleSet]:
    """Evaluate a model and return its sample sets below `out`, one per task; `shard` selects a shard (index, of)."""
    suite = open_suite(loaded, reporter)
    baseline = locate_model(loaded, loaded.config.baseline) if kl or settings.tokenizer == "baseline" else None
    model = locate_model(loaded, settings)
    reference = cached_baseline(suite, baseline) if kl and baseline is not None else []
    evaluated = candidate_sets(suite, model, reporter, baseline=baseline, reference=reference, folder=out, shard=shard)
    evaluated.marker.unlink(missing_ok=True)
    return evaluated.sets


def evaluate_baseline(loaded: LoadedConfig, reporter: Reporter, force: bool = False) -> list[SampleSet]:
    """Return the sample sets of the baseline of a gate.yml, evaluated now if they are not cached."""
    suite = open_suite(loaded, reporter)
    return baseline_sets(suite, locate_model(loaded, loaded.config.baseline), reporter, force)
