"""Conventions of LM Evaluation Harness 0.4, shared by registry tasks and by the importer of its sample files.

Imports neither lm_eval nor any other part of quantgate.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

DEFAULT_METRICS = ("acc", "exact_match", "acc_norm", "prompt_level_strict_acc", "pass@1", "pass_at_1")
"""Metrics in order of preference, where the user names none. All are binary."""

DEFAULT_FILTERS = ("none", "strict-match", "flexible-extract")
"""Filters in order of preference. `strict-match` (GSM8K) also counts a forgotten answer format as a degradation."""

DEFAULT_TARGET_DELIMITER = " "
SAMPLES_PREFIX = "samples_"

_LOWER_IS_BETTER = frozenset(
    [
        "perplexity",
        "word_perplexity",
        "byte_perplexity",
        "bits_per_byte",
        "brier_score",
        "ter",
        "wer",
        "cer",
        "loss",
    ]
)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_STAMP = re.compile(r"_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)$")
_RESULTS = re.compile(r"results_\d{4}-\d\d-\d\dT.*\.json$")


def preferred(names: Collection[str], defaults: Sequence[str]) -> str | None:
    """Return the first default that is one of `names`, or None."""
    return next((name for name in defaults if name in names), None)


def lower_is_better(metric: str, declared: bool | None = None) -> bool:
    """Return whether a smaller value of a metric is better.

    `declared` is `higher_is_better` of the task; None where the task does not declare it. Undeclared metrics are looked
    up by name, and unknown names count as higher is better.
    """
    return metric in _LOWER_IS_BETTER if declared is None else not declared


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
    elif metric in ("acc_norm", "acc_bytes"):
        lengths = [len(choice.encode()) if metric == "acc_bytes" else len(choice) for choice in choices]
        values = [value / length if length else float("-inf") for value, length in zip(values, lengths, strict=True)]
    return values.index(max(values))


def without_addresses(text: str) -> str:
    """Remove memory addresses from the text of a task's configuration; they differ in every process."""
    return _ADDRESS.sub("", text)


def split_samples_name(stem: str) -> tuple[str, str]:
    """Return the task and the time stamp in the stem of a `samples_<task>_<stamp>.jsonl`; either may be missing.

    Examples
    --------
    >>> split_samples_name("samples_arc_easy_2026-01-02T03-04-05.678")
    ('arc_easy', '2026-01-02T03-04-05.678')
    >>> split_samples_name("arc")
    ('arc', '')
    """
    name = stem.removeprefix(SAMPLES_PREFIX)
    match = _STAMP.search(name)
    return (name[: match.start()], match.group(1)) if match else (name, "")


def results_name(stamp: str) -> str:
    """Return the name of the results file of the run with a time stamp."""
    return f"results_{stamp}.json" if stamp else "results.json"


def is_results_name(name: str) -> bool:
    """Return whether a file name is that of a run's results, which hold no samples."""
    return _RESULTS.match(name) is not None
