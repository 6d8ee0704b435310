"""Conventions of LM Evaluation Harness 0.4, shared by registry tasks and by the importer of its sample files.

Does not import lm_eval.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from gate.common.directions import known_direction

DEFAULT_METRICS = ("acc", "exact_match", "acc_norm", "prompt_level_strict_acc", "pass@1", "pass_at_1")
"""Metrics in order of preference, where the user names none. All are binary."""

DEFAULT_FILTERS = ("none", "strict-match", "flexible-extract")
"""Filters in order of preference. `strict-match` (GSM8K) also counts a forgotten answer format as a degradation."""

DEFAULT_TARGET_DELIMITER = " "
SAMPLES_PREFIX = "samples_"

PREDICT_ONLY_METRIC = "bypass"
"""What lm-eval logs instead of a score with `--predict_only`."""

LIKELIHOOD_UNITS = {"word_perplexity": "word", "byte_perplexity": "byte", "bits_per_byte": "byte"}
"""Perplexities that are logged as a pair [log-likelihood, number of units], and their unit."""

LIKELIHOOD_PREFIX = "loglikelihood_per_"
"""Begins the names of scores that are the log-likelihood of a whole text (nats) per unit."""

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_STAMP = re.compile(r"_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)$")
_LMMS = re.compile(r"(\d{8}_\d{6}|\d{4}_\d{4})_samples_(.+)$")
_RESULTS = re.compile(r"results_\d{4}-\d\d-\d\dT.*\.json$|\d{8}_\d{6}_results\.json$")


def text_units(values: Mapping[str, Any]) -> dict[str, int]:
    """Return the numbers of words and bytes of a text, as `text_words` and `text_bytes`, from logged perplexities.

    `values` are the metrics of one document; other metrics, and values that are not such pairs, tell nothing.

    Examples
    --------
    >>> text_units({"word_perplexity": (-120.5, 40), "bits_per_byte": [-120.5, 211], "acc": 1.0})
    {'text_words': 40, 'text_bytes': 211}
    """
    units: dict[str, int] = {}
    for name, value in values.items():
        if name in LIKELIHOOD_UNITS and isinstance(value, tuple | list) and len(value) == 2:
            with suppress(TypeError, ValueError, OverflowError):  # a damaged file
                units[f"text_{LIKELIHOOD_UNITS[name]}s"] = int(value[1])
    return units


def preferred(names: Collection[str], defaults: Sequence[str]) -> str | None:
    """Return the first default that is one of `names`, or None."""
    return next((name for name in defaults if name in names), None)


def lower_is_better(metric: str, declared: bool | None = None) -> bool:
    """Return whether a smaller value of a metric is better.

    `declared` is `higher_is_better` of the task; None where the task does not declare it. Undeclared metrics are looked
    up by name, and unknown names count as higher is better.
    """
    return known_direction(metric) == "lower" if declared is None else not declared


def pick_choice(
    loglikelihoods: Sequence[float], choices: Sequence[str], metric: str, unconditioned: Sequence[float] = ()
) -> int:
    """Return the 0-based index of the model's choice, as in lm-eval's `ConfigurableTask.process_results`.

    `acc_norm` takes the largest log-likelihood per character, `acc_bytes` per UTF-8 byte, and `acc_mutual_info` the
    largest gain over the log-likelihood without context. Every other metric takes the largest log-likelihood. Ties go
    to the first choice.

    Parameters
    ----------
    loglikelihoods : sequence of float
        Log-likelihood of each choice given the context, in nats.
    choices : sequence of str
        Texts of the choices, without the target delimiter.
    unconditioned : sequence of float
        Log-likelihood of each choice without context, in nats; only for `acc_mutual_info`.
    """
    values = list(loglikelihoods)
    if metric == "acc_mutual_info" and unconditioned:
        values = [value - prior for value, prior in zip(values, unconditioned, strict=True)]
    elif (lengths := choice_lengths(metric, choices)) is not None:
        values = [value / length if length else float("-inf") for value, length in zip(values, lengths, strict=True)]
    return values.index(max(values))


def choice_lengths(metric: str, choices: Sequence[str]) -> list[int] | None:
    """Return what a metric divides the log-likelihood of each choice by: characters, UTF-8 bytes, or None (nothing)."""
    if metric in ("acc_norm", "acc_bytes", "acc_norm_smooth"):
        return [len(choice.encode()) if metric == "acc_bytes" else len(choice) for choice in choices]
    return None


def without_addresses(text: str) -> str:
    """Remove memory addresses from the text of a task's configuration; they differ in every process."""
    return _ADDRESS.sub("", text)


def split_samples_name(stem: str) -> tuple[str, str]:
    """Return the task and the time stamp in the stem of a `samples_<task>_<stamp>.jsonl`; either may be missing.

    Examples
    --------
    >>> split_samples_name("samples_arc_easy_2026-01-02T03-04-05.678")
    ('arc_easy', '2026-01-02T03-04-05.678')
    >>> split_samples_name("20261001_155054_samples_ai2d")  # lmms-eval
    ('ai2d', '20261001_155054')
    >>> split_samples_name("arc")
    ('arc', '')
    """
    of_lmms = _LMMS.match(stem)
    if of_lmms:
        return of_lmms.group(2), of_lmms.group(1)
    name = stem.removeprefix(SAMPLES_PREFIX)
    match = _STAMP.search(name)
    return (name[: match.start()], match.group(1)) if match else (name, "")


def is_samples_name(name: str) -> bool:
    """Return whether a file name is one that lm-eval or lmms-eval gives to the samples of a task."""
    return name.startswith(SAMPLES_PREFIX) or _LMMS.match(name) is not None


def is_results_name(name: str) -> bool:
    """Return whether a file name is that of a run's results, which hold no samples."""
    return _RESULTS.match(name) is not None
