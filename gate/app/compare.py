"""Two sample sets to a verdict, without a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Unpack

from gate.app.policy import DecisionKeywords, decision_settings
from gate.app.samples import load_samples
from gate.config import DistanceSettings
from gate.decision import decide
from gate.errors import ConfigError
from gate.report import Result, build_result
from gate.samples import ModelSamples, Pairing, pair

Samples = str | os.PathLike[str] | ModelSamples


def compare(
    baseline: Samples,
    candidate: Samples,
    *,
    metric: str | None = None,
    filter_name: str | None = None,
    tasks: Sequence[str] = (),
    advisory: Sequence[str] = (),
    allow_partial: bool = False,
    seed: int = 0,
    max_flip_rate: float | None = None,
    max_kl: float | None = None,
    **decision: Unpack[DecisionKeywords],
) -> Result:
    r"""Compare two sets of samples and judge the candidate; what `gate compare` does.

    Parameters
    ----------
    baseline, candidate : path or ModelSamples
        See `load_samples` for the formats.
    metric, filter_name : str, optional
        Metric and filter to compare if the files have several.
    tasks : sequence of str
        Compare only these tasks. Default: all.
    advisory : sequence of str
        Report these tasks, but do not judge by them.
    allow_partial : bool, default False
        Compare the items that both sides have, and say what is left out. By default a missing item is an error.
    seed : int, default 0
        Of the Monte Carlo draws.
    max_flip_rate : float, optional
        FAIL if a larger proportion of items flips.
    max_kl : float, optional
        FAIL if the mean KL divergence (nats) is larger.
    **decision
        Keys of gate.yml's `decision` section: alpha, rule, margin, certify, power, on_inconclusive, draws.

    Raises
    ------
    SampleError
        A file cannot be read, or the two sides do not pair.
    ConfigError
        No such task, no gating task, or a decision setting is unknown or out of range.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import gate
    >>> with TemporaryDirectory() as folder:
    ...     for name, right in ("a", 1), ("b", 0):
    ...         rows = [f"faq,{item},x,x,{right}" for item in range(10)]
    ...         text = "\n".join(["task,item_id,output,target,correct", *rows])
    ...         _ = (Path(folder) / f"{name}.csv").write_text(text)
    ...     result = gate.compare(Path(folder) / "a.csv", Path(folder) / "b.csv")
    >>> result.verdict, round(result.p_value, 6)
    ('FAIL', 0.000977)
    """
    result, _ = compare_samples(
        baseline,
        candidate,
        metric=metric,
        filter_name=filter_name,
        tasks=tasks,
        advisory=advisory,
        allow_partial=allow_partial,
        seed=seed,
        max_flip_rate=max_flip_rate,
        max_kl=max_kl,
        **decision,
    )
    return result


def compare_samples(
    baseline: Samples,
    candidate: Samples,
    *,
    metric: str | None = None,
    filter_name: str | None = None,
    tasks: Sequence[str] = (),
    advisory: Sequence[str] = (),
    allow_partial: bool = False,
    seed: int = 0,
    max_flip_rate: float | None = None,
    max_kl: float | None = None,
    command: str | None = None,
    **decision: Unpack[DecisionKeywords],
) -> tuple[Result, Pairing]:
    """Return the result of `compare` and the paired samples behind it; `command` reproduces the result."""
    settings = decision_settings(decision)
    distance = DistanceSettings(max_flip_rate=max_flip_rate, max_kl=max_kl)
    sides = [
        side if isinstance(side, ModelSamples) else load_samples(side, metric=metric, filter_name=filter_name)
        for side in (baseline, candidate)
    ]
    unknown = sorted({*tasks, *advisory} - {name for side in sides for name in side.tasks})
    if unknown:
        raise ConfigError(
            f"no such task in the files: {', '.join(unknown)}; they have: {', '.join(sorted(sides[0].tasks))}."
        )
    pairing = pair(sides[0], sides[1], list(tasks) or None, allow_partial)
    verdict = decide(pairing.tasks, settings, distance, dict.fromkeys(advisory, "advisory"), seed)
    commands = [] if command is None else [command]
    return build_result(verdict, pairing, sides[0], sides[1], settings, seed, commands), pairing
