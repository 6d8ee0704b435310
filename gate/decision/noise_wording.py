"""How reports describe the A/A control: every sentence is defined here, once."""

from __future__ import annotations

from collections.abc import Mapping

from gate.decision.noise import Control, NoiseFloor
from gate.decision.result import Decision, TaskResult
from gate.decision.wording import number, p_equation, points
from gate.samples.stack import describe


def control_run(control: Control | None) -> str:
    """Say what the candidate was compared with, and why; empty where there was no control."""
    if control is None or control.kind == "none":
        return ""
    if control.kind == "repeat":
        return "The baseline answered a second time on the same stack, in other batches."
    return (
        f"The cached answers of the baseline are from another stack ({describe(control.differences)}). The baseline "
        "answered again on the candidate's stack; the decision uses that run only."
    )


def confounded(control: Control) -> str:
    """Say why a run without a control does not separate the model from the stack."""
    return (
        f"No control: {control.note}. The candidate is compared with the cached answers, from another stack "
        f"({describe(control.differences)}): the verdict does not separate the model from the stack."
    )


def noise_floor(control: Control | None, decision: Decision | None = None) -> str:
    """Say how much the baseline's own answers change and, beside it, how much the candidate's do."""
    if control is None or control.floor is None:
        return ""
    floor = control.floor
    low, high = floor.flip_rate_ci95
    runs = "two runs of the baseline" if control.kind == "repeat" else "the cached baseline and the control"
    text = (
        f"{floor.flips:,} of {floor.items:,} items flip between {runs} ({floor.flip_rate:.2%}, 95% interval {low:.2%} "
        f"to {high:.2%}){_kl(floor.kl_mean, floor.kl_is_bound)}."
    )
    if control.kind == "repeat":
        text += f" {_score_change(floor)}"
    if decision is not None:
        flips = sum(task.regressions + task.improvements for task in decision.gating)
        text += (
            f" The candidate flips {flips:,} of {decision.items:,} ({decision.flip_rate:.2%})"
            f"{_kl(_mean_kl(decision.gating))}."
        )
    if control.excess is not None:
        moved = control.excess
        verdict = "it moved more than noise" if moved.moved else "not significantly more than noise"
        text += (
            f" The candidate alone differs on {moved.candidate_alone:,} items, the baseline's run that it is compared "
            f"with alone on {moved.control_alone:,} (one-sided {p_equation(moved.p_value)}): {verdict}."
        )
    return text


def environment_shift(control: Control | None) -> str:
    """Say whether the stack alone changed the baseline's score; empty where there is one stack."""
    if control is None or control.floor is None:
        return ""
    if control.kind == "repeat":
        return ""
    if control.shifted:
        return f"The stack alone changed the baseline's score. {_score_change(control.floor)}"
    return f"None shown: the stack alone did not significantly change the score. {_score_change(control.floor)}"


def control_sections(control: Control | None, decision: Decision | None = None) -> Mapping[str, str]:
    """Return the sections of a report on the control, by title; empty without a control."""
    sections = {
        "Control": control_run(control),
        "Noise floor": noise_floor(control, decision),
        "Environment shift": environment_shift(control),
    }
    return {title: text for title, text in sections.items() if text}


def _score_change(floor: NoiseFloor) -> str:
    drop = "" if floor.drop is None else f"first run minus second: {points(floor.drop)} points, "
    return f"Score, {drop}two-sided {p_equation(floor.p_value)} (level 0.01); the verdict does not depend on it."


def _kl(mean: float | None, is_bound: bool = False) -> str:
    if mean is None:
        return ""
    return f", KL at least {number(mean)} nats at the first token" if is_bound else f", KL {number(mean)} nats"


def _mean_kl(tasks: list[TaskResult]) -> float | None:
    known = [task.kl_mean * task.n for task in tasks if task.kl_mean is not None]
    return sum(known) / sum(task.n for task in tasks) if len(known) == len(tasks) else None
