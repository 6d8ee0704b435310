"""The sentences that give the reasons of a verdict: what is proven, what is not, and under which assumptions."""

from __future__ import annotations

import pytest
from test_decision_policy import counted, judged, scored

from gate.decision import wording
from gate.decision.result import Certification, Recovery

ENOUGH = (
    "If the true drop is zero and the flip rate stays as observed, a run of this size proves it with a power of about "
    "80% or more."
)


def test_a_fail_with_a_certificate_says_both() -> None:
    decision = judged(counted("one", 60, 25, 4000), certify=0.02)
    assert decision.verdict == "FAIL"
    worse, proven = decision.reasons
    assert worse.startswith("The candidate is worse than the baseline: p = ")
    assert proven.startswith("But the mean drop over all 4,000 gating items is below 2 points: proven (")


def test_a_fail_without_a_certificate_claims_no_proof() -> None:
    decision = judged(counted("one", 60, 25, 400), certify=0.02)
    assert decision.verdict == "FAIL"
    assert len(decision.reasons) == 1


def test_a_limit_that_fails_says_that_the_test_did_not_and_keeps_the_certificate() -> None:
    decision = judged(counted("one", 10, 10, 2000), certify=0.02, flips=0.005)
    assert decision.verdict == "FAIL"
    tested, limit, proven = decision.reasons
    assert tested.startswith("No significant drop (p = 0.588, alpha = 0.05), but the candidate exceeds a limit.")
    assert limit == "1.00% of the answers flipped; the limit is 0.50%."
    assert proven.startswith("But the mean drop over all 2,000 gating items is below 2 points: proven (")


def test_one_task_is_not_named_as_the_task_that_fails() -> None:
    assert judged(counted("one", 60, 25, 400)).reasons[0].endswith("joint null distribution).")


@pytest.mark.parametrize(
    ("b", "c", "needed", "sentence"),
    [
        (
            8,
            8,
            1546,
            "If the true drop is zero and the flip rate stays as observed, about 1,500 items would prove it with 80% power.",
        ),
        (
            14,
            4,
            9000,
            "The observed drop is +5.00 points: if the true drop is as large as this, no number of items would prove that "
            "it is below 2 points.",
        ),
        (
            1,
            1,
            900,
            "If the true drop is zero and the flip rate is 5%, about 900 items would prove it with 80% power.",
        ),
        (8, 8, 150, ENOUGH),
        (8, 8, None, ENOUGH),
    ],
)
def test_the_outlook_states_its_assumptions(b: int, c: int, needed: int | None, sentence: str) -> None:
    rows = judged(counted("one", b, c, 200)).tasks
    certification = Certification(margin=0.02, p_value=0.2, certified=False, items_needed=needed)
    assert wording.outlook(certification, rows, 0.8) == sentence


def test_an_observed_drop_at_the_bound_has_no_outlook() -> None:
    """Issue 15: 1,000 items with a drop above the bound do not become proof with 773 items."""
    decision = judged(counted("one", 30, 20, 1000), certify=0.01)
    assert decision.verdict == "INCONCLUSIVE"
    assert "would prove it" not in decision.reasons[0]
    assert "no number of items would prove that it is below 1 point" in decision.reasons[0]


def test_graded_scores_have_no_flip_rate_in_their_outlook() -> None:
    rows = judged(scored("graded", [0.5, 0.7, 0.9] * 40, [0.5, 0.8, 0.8] * 40)).tasks
    certification = Certification(margin=0.02, p_value=0.2, certified=False, items_needed=3000)
    sentence = wording.outlook(certification, rows, 0.8)
    assert sentence.startswith(
        "If the true drop is zero and the spread of the differences stays as observed, about 3,000"
    )


def test_the_detectable_drop_names_the_flips_that_it_assumes() -> None:
    many, few = (wording.detectable_drop(judged(counted("one", b, 6, 400))) for b in (8, 1))
    assert "on every task, on top of the observed flips, is detected with 80% power." in many
    assert "on top of the observed flips (at least 10 per task), is detected with 80% power." in few


def test_an_unbounded_recovery_is_named_so() -> None:
    row = judged(counted("one", 0, 0, 40)).tasks[0]
    unbounded = row.model_copy(update={"recovery": Recovery(ratio=1.0, ci90=(None, None))})
    assert wording.recovery(unbounded) == "100.00% (90% interval unbounded)"
    assert wording.recovery(row) == ""


def test_the_largest_of_the_simultaneous_bounds_is_stated_for_several_tasks() -> None:
    decision = judged(counted("one", 8, 8, 400), counted("two", 8, 8, 100))
    largest = max(task.drop_bound or 0.0 for task in decision.tasks)
    assert wording.bounds(decision) == (
        f"With 95% confidence, no gating task's true drop exceeds {100 * largest:.2f} points (simultaneous bounds)."
    )
    assert wording.bounds(judged(counted("one", 8, 8, 400))) == ""
