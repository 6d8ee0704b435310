"""The reasons of a verdict: what was tested, what is proven, which limits are exceeded."""

from __future__ import annotations

from collections.abc import Sequence

from gate.decision import wording
from gate.decision.result import Decision, Limit, TaskResult
from gate.decision.wording import count, deciding_p, p_equation, size

_LIMIT = "the candidate exceeds a limit. Limits are compared with observed values: chance alone can exceed them."


def reasons(decision: Decision, over_limit: Sequence[str]) -> list[str]:
    """Return why the verdict is what it is; `over_limit` names the exceeded limits."""
    level = f"{deciding_p(decision)}, alpha = {decision.alpha:g}"
    proven, unproven = _proofs(decision)
    if decision.verdict == "FAIL":
        but = [f"But {proof}" for proof in proven]
        if decision.stopped_early or decision.p_value <= decision.alpha:
            return [_worse(decision, level), *over_limit, *but]
        return [f"{_no_drop(decision)} ({level}), but {_LIMIT}", *over_limit, *but]
    certified = [f"Certified: {proof}" for proof in proven]
    if not unproven:
        return [f"{_no_drop(decision)}: {level}.", *certified]
    first, *others = unproven
    return [f"{_no_drop(decision)} ({level}), but {first}", *(f"Also, {other}" for other in others), *certified]


def exceeded(task: TaskResult, limit: Limit) -> str:
    """Say that the observed value of a task is beyond a limit."""
    return f"{task.task}: {wording.limit_found(task, limit)}."


def _no_drop(decision: Decision) -> str:
    return "No significant drop beyond the margin" if decision.has_margin else "No significant drop"


def _worse(decision: Decision, level: str) -> str:
    early = decision.early_stop
    if early is not None and early.stopped:
        return (
            f"The candidate is worse than the baseline: stopped after {early.items:,} of {early.total:,} items "
            f"({wording.evidence(early)}). {_failed(decision)}The p-values of single tasks are those of these items, "
            "not adjusted for the stop."
        )
    several = len(decision.gating) > 1
    beyond = ""
    if decision.common_margin is None:
        beyond = " by more than the margin of at least one task"
    elif decision.common_margin > 0:
        beyond = f" by more than {size(decision.common_margin)}{' on at least one task' * several}"
    tests = wording.RULES[decision.rule]
    if decision.rule == "omnibus" and decision.has_margin and several:
        tests = "three times the smallest of pooled, max and Fisher"
    test = f"{level} ({decision.rule} test: {tests})"
    if decision.spending is not None and decision.spending.evidence is not None:
        test = f"{level} ({wording.nightly(decision.spending.evidence)})"
    return f"The candidate is worse than the baseline{beyond}: {test}. {_failed(decision)}".rstrip()


def _failed(decision: Decision) -> str:
    """Name the tasks that fail by themselves; nothing where there is only one task, or the data do not tell."""
    if len(decision.gating) == 1:
        return ""
    failed = [task.task for task in decision.failed_tasks]
    if failed:
        return f"Significant after adjustment for {count(len(decision.gating), 'task')}: {', '.join(failed)}. "
    return "The tests over all tasks do not single out a task. "


def _proofs(decision: Decision) -> tuple[list[str], list[str]]:
    """Return what is proven and what is not: one sentence per bound of the policy, without its first capital."""
    proven, unproven = [], []
    subjects = [(f"the mean drop over all {decision.items:,} gating items", decision.certification, decision.gating)]
    subjects += [(f"the drop on {task.task}", task.certification, [task]) for task in decision.gating]
    for subject, certification, tasks in subjects:
        if certification is None:
            continue
        test = "large-sample score" if certification.test is None else certification.test
        proof = f"{test} test, {p_equation(certification.p_value)}"
        bound = size(certification.margin)
        if certification.certified:
            proven.append(f"{subject} is below {bound}: proven ({proof}).")
        else:
            outlook = wording.outlook(certification, tasks, decision.sensitivity.power)
            unproven.append(f"the data do not prove that {subject} is below {bound} ({proof}). {outlook}".rstrip())
    return proven, unproven
