"""Is the evaluation itself valid? Whether it could have shown a loss, and whether it compared what it should."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow.compute as pc
from scipy.special import bdtrc

from gate.config import DecisionSettings
from gate.decision import wording
from gate.decision.blindness import blind, too_small
from gate.decision.finding import Finding
from gate.decision.result import Certification, TaskResult
from gate.decision.rows import Judged
from gate.errors import ConfigError
from gate.samples import PairedTask
from gate.stats import Evidence

CHANCE_LEVEL = 0.05
"""Level of the test that the baseline is better than chance."""

IMPLAUSIBLE_GAIN = 0.05
"""A larger significant gain (proportion) points to a mistake in the evaluation."""


def findings(judged: Sequence[Judged], policy: DecisionSettings, alpha: float) -> list[Finding]:
    """Return what makes the evaluation blind or implausible, blocking findings first.

    Parameters
    ----------
    policy : DecisionSettings
        The policy as given.
    alpha : float
        Level of the test that decides.
    """
    gating = [task for task in judged if task.role == "gating"]
    small = too_small(gating, alpha)  # first: no other reason can be found out with so few items
    at_chance = [finding for task in gating if not small and (finding := _at_chance(task)) is not None]
    unable = small or ([] if at_chance else blind(gating, policy, alpha))
    gains = [finding for task in judged if (finding := _implausible_gain(task, policy.alpha)) is not None]
    return [*at_chance, *unable, *gains]


def refuse_unknown_units(judged: Sequence[Judged], settings: DecisionSettings) -> None:
    """Raise a ConfigError where a proportion is to be tested on scores of an unknown range.

    Raises
    ------
    ConfigError
        A margin, `certify` or `max_drop` applies to a task whose scores lie outside of 0 to 1, without a `scale`.
    """
    for task in judged:
        if task.pair.unit != "score":
            continue
        own = {name: getattr(task.policy, name) for name in ("margin", "certify", "max_drop")}
        common = {"margin": settings.margin, "certify": settings.certify} if task.role == "gating" else {}
        keys = [name for name in own if own[name] or (common.get(name) and own[name] is None)]
        if keys:
            names = " and ".join(keys)
            scores = np.concatenate([task.pair.baseline_score, task.pair.candidate_score])
            raise ConfigError(
                f"task {task.pair.task}: {names} {'is a proportion' if len(keys) == 1 else 'are proportions'}, but the "
                f"scores range from {scores.min():g} to {scores.max():g}, so that a proportion means nothing.",
                "Declare the range of the scores as the task's `scale: [low, high]` in gate.yml, make the task "
                f"advisory, or remove {names}.",
            )


def without_proofs(
    rows: Sequence[TaskResult], certification: Certification | None, blocking: Sequence[Finding]
) -> tuple[list[TaskResult], Certification | None]:
    """Return the rows and the certification of the decision, where a run that cannot show a loss proves nothing."""
    if not blocking:
        return list(rows), certification
    tasks = {finding.task for finding in blocking}
    unproven = {"certified": False}
    rows = [
        row.model_copy(update={"certification": row.certification.model_copy(update=unproven)})
        if row.certification is not None and tasks & {row.task, None}
        else row
        for row in rows
    ]
    return rows, None if certification is None else certification.model_copy(update=unproven)


def chance_of(task: Judged) -> float:
    """Return the expected score of a model that knows nothing (proportion).

    The task's `chance`; else the mean of 1 / (number of choices), where items without choices count 0.
    """
    if task.policy.chance is not None:
        return task.policy.chance
    table = task.pair.baseline
    counts = pc.coalesce(
        pc.list_value_length(table.column("choices")), pc.list_value_length(table.column("choice_logprobs"))
    )
    numbers = pc.fill_null(counts, 0).to_numpy()
    choices = numbers[numbers > 1]
    return float(np.sum(1.0 / choices)) / len(numbers)


def _at_chance(task: Judged) -> Finding | None:
    """Return a finding if the baseline is not better than chance, or answers nothing right.

    Binary scores: one-sided exact binomial test against the mean chance. Other scores from 0 to 1: one-sided z-test of
    their mean. Scores of unknown range have no known chance.
    """
    pair = task.pair
    if pair.unit != "proportion":
        return None
    chance, scores = chance_of(task), pair.baseline_score
    mean = float(scores.mean())
    if pair.binary:
        right = round(float(scores.sum()))
        better = right > 0 and float(bdtrc(right - 1, pair.n, chance)) <= CHANCE_LEVEL
    else:
        error = float(scores.std(ddof=1)) / math.sqrt(pair.n) if pair.n > 1 else math.inf
        better = mean > 0.0 and mean - chance > (0.0 if chance == 0.0 else 1.645 * error)
    if better:
        return None
    if chance > 0.0 and chance**pair.n > CHANCE_LEVEL:
        return Finding(
            kind="chance",
            task=pair.task,
            message=f"Task {pair.task} has {wording.count(pair.n, 'item')}, too few to show that the baseline is "
            f"better than chance ({wording.percent(chance)}), and too few to show a loss. Use more items, or make it "
            "advisory.",
            blocks=True,
        )
    if mean == 0.0:
        found = f"it answers none of {wording.count(pair.n, 'item')} right"
    else:
        found = f"{wording.percent(mean)} of {wording.count(pair.n, 'item')}, chance is {wording.percent(chance)}"
    return Finding(
        kind="chance",
        task=pair.task,
        message=f"The baseline is at chance on {pair.task} ({found}), so that this task cannot show a loss. Check its "
        "prompt and its scoring; or use more items, make it advisory, or declare its `chance`.",
        blocks=True,
    )


def _implausible_gain(task: Judged, alpha: float) -> Finding | None:
    pair = task.pair
    gain = float((pair.candidate_score - pair.baseline_score).mean())
    if pair.unit != "proportion" or gain <= IMPLAUSIBLE_GAIN:
        return None
    if task.evidence.is_binary:
        reverse = Evidence.from_counts(pair.improvements, pair.regressions)
    else:
        reverse = Evidence.from_differences(pair.candidate_score - pair.baseline_score, pair.clusters, rng=0)
    p = min(1.0, 2.0 * reverse.pvalue)
    if p > alpha / 10:
        return None
    return Finding(
        kind="gain",
        task=pair.task,
        message=f"The candidate is better by {100 * gain:.1f} points on {pair.task} (two-sided p = {p:.2g}), which is "
        "implausible for an optimised model. Check the baseline (model, prompt template, settings) and whether the "
        "candidate has seen the answers.",
    )


def same_source(
    baseline: Mapping[str, object], candidate: Mapping[str, object], pairs: Sequence[PairedTask]
) -> list[Finding]:
    """Return a finding if both sides are the same files, model, weights or answers.

    Parameters
    ----------
    baseline, candidate : mapping
        What is known of each side: `files` (with `sha256`), `fingerprint`, `weights`.
    pairs : sequence of PairedTask
    """
    hashes = [_hashes(side) for side in (baseline, candidate)]
    if hashes[0] and hashes[0] == hashes[1] and baseline.get("judged_model") == candidate.get("judged_model"):
        what = "file" if len(hashes[0]) == 1 else "files"
        message = (
            f"Baseline and candidate are the same {what} (SHA-256 {min(hashes[0])[:12]}): nothing was compared. Check "
            "the two paths."
        )
        return [Finding(kind="same-file", message=message)]
    if _equal("fingerprint", baseline, candidate):
        message = (
            "Baseline and candidate are the same model with the same settings (equal fingerprints): this run is a "
            "control and tests no other model."
        )
        return [Finding(kind="same-model", message=message)]
    if _equal("weights", baseline, candidate) and _is_hash(baseline["weights"]):
        keys = ("dtype", "loaded_dtype", "quantization", "adapter", "engine", "tokenizer", "hardware")
        differing = [key for key in keys if baseline.get(key) != candidate.get(key)]
        message = (
            "Baseline and candidate have the same weights (equal hashes); they differ in: "
            f"{', '.join(differing) or 'settings of the engine'}."
        )
        return [Finding(kind="same-weights", message=message)]
    if pairs and all(map(_same_answers, pairs)):
        message = (
            f"All {wording.count(sum(pair.n for pair in pairs), 'answer')} of baseline and candidate are identical. If "
            "the candidate is another model, check that it is the one that was evaluated."
        )
        return [Finding(kind="same-answers", message=message)]
    return []


def _hashes(side: Mapping[str, object]) -> set[str]:
    files = side.get("files")
    entries = files if isinstance(files, list) else []
    return {str(entry["sha256"]) for entry in entries if isinstance(entry, Mapping) and "sha256" in entry}


def _equal(key: str, a: Mapping[str, object], b: Mapping[str, object]) -> bool:
    return a.get(key) is not None and a.get(key) == b.get(key)


def _is_hash(value: object) -> bool:
    text = str(value)
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _same_answers(pair: PairedTask) -> bool:
    """Return whether the recorded answers are equal to the last digit: log-likelihoods, else texts."""
    if not np.array_equal(pair.baseline_score, pair.candidate_score):
        return False
    for name in ("choice_logprobs", "output"):
        a, b = pair.baseline.column(name), pair.candidate.column(name)
        if a.null_count == b.null_count == 0:
            return bool(a.equals(b))
    return False
