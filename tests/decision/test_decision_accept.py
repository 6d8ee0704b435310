"""Accepted regressions excuse a FAIL until a date, are always shown, and never cause a FAIL or spend less alpha."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from support.paired_tasks import counted, scored

from gate.config import DecisionSettings, TaskPolicy, parse_config
from gate.config.accept import AcceptSettings
from gate.decision import Decision
from gate.decision.accept import with_accepted
from gate.decision.candidates import Entrant, decide_candidates
from gate.errors import ConfigError
from gate.samples import PairedTask

TODAY = date(2026, 6, 1)


def entry(task: str = "faq", **more: Any) -> AcceptSettings:
    return AcceptSettings.model_validate({"task": task, "reason": "see #7", "expires": date(2026, 12, 31), **more})


def judged(
    pairs: Mapping[str, Sequence[PairedTask]], accepted: Sequence[AcceptSettings], **policy: Any
) -> tuple[dict[str, Decision], dict[str, Decision]]:
    """Return the decisions on all items and those with accepted regressions."""
    decision = DecisionSettings(draws=20_000, **policy)

    def again(entrants: Mapping[str, Entrant], policies: Mapping[str, TaskPolicy]) -> dict[str, Decision]:
        return decide_candidates(entrants, decision, policies=policies)

    entrants = {name: Entrant(own) for name, own in pairs.items()}
    full = again(entrants, {})
    return full, with_accepted(full, entrants, accepted, decision, {}, again, TODAY)


def one(pairs: Sequence[PairedTask], *accepted: AcceptSettings, **policy: Any) -> tuple[Decision, Decision]:
    full, found = judged({"candidate": pairs}, accepted, **policy)
    return full["candidate"], found["candidate"]


def regressed(b: int) -> list[str]:
    """The items of `counted` that regressed."""
    return [f"i{n}" for n in range(b)]


def test_accepted_items_excuse_a_fail_and_are_shown() -> None:
    full, found = one([counted("faq", 12, 2, 400)], entry(items=regressed(10)))
    assert (full.verdict, found.verdict, found.exit_code) == ("FAIL", "PASS", 0)
    assert found.p_value == full.p_value
    assert found.tasks == full.tasks  # nothing is removed from the table
    assert found.accepted is not None
    assert found.accepted.p_value == pytest.approx(0.6875)  # P[Bin(4, 1/2) >= 2]
    assert found.accepted.verdict_of_all == "FAIL"
    assert found.accepted.entries[0].regressions == 10
    assert found.reasons[0].startswith("No significant drop beyond the accepted regressions: p = 0.688 without them")
    assert found.reasons[1].startswith("On all items: The candidate is worse than the baseline: p = 0.00647")
    assert "Accepted until 2026-12-31 on faq, 10 items (i0, i1, " in found.reasons[2]
    assert found.reasons[2].endswith("10 of them regressed: see #7")
    assert "can hide a mean drop of up to +2.50 points" in found.reasons[3]
    assert found.accepted.hidden == 10 / 400


def test_a_loss_beyond_the_accepted_items_still_fails() -> None:
    full, found = one([counted("faq", 30, 2, 400)], entry(items=regressed(10)))
    assert (full.verdict, found.verdict, found.exit_code) == ("FAIL", "FAIL", 1)
    assert any(text.startswith("Accepted regressions do not explain it: p = ") for text in found.reasons)


def test_an_accepted_drop_is_tested_as_a_margin() -> None:
    pairs = [counted("faq", 20, 4, 400)]
    full, found = one(pairs, entry(drop=0.05))
    margin, _ = one(pairs, margin=0.05)
    assert (full.verdict, found.verdict) == ("FAIL", "PASS")
    assert found.accepted is not None
    assert found.accepted.p_value == margin.p_value
    assert found.accepted.hidden == 0.0
    assert any("a drop of up to 5 points: see #7" in text for text in found.reasons)
    assert one([counted("faq", 60, 4, 400)], entry(drop=0.05))[1].verdict == "FAIL"


@pytest.mark.parametrize(
    ("accepted", "state", "says"),
    [
        (entry(items=["i0"], expires=date(2026, 5, 31)), "expired", "Expired on 2026-05-31, so it does not count: "),
        (entry(drop=0.1, expires="2026-05-31"), "expired", "Expired on 2026-05-31, so it does not count: "),
        (entry(items=["x1", "x2"]), "no such item", "Not accepted, because the run has no such item: "),
        (entry(items=[f"i{n}" for n in range(41)]), "too many items", "more than 10% of the items of the task"),
        (entry("other", items=["i0"]), "no such task", "Not accepted, because the run has no such task: "),
    ],
)
def test_an_entry_that_does_not_count_is_shown_with_its_reason(accepted: AcceptSettings, state: str, says: str) -> None:
    full, found = one([counted("faq", 12, 2, 400)], accepted)
    assert (full.verdict, found.verdict) == ("FAIL", "FAIL")
    assert found.accepted is not None
    assert (found.accepted.entries[0].state, found.accepted.p_value) == (state, None)
    (line,) = [text for text in found.reasons if "see #7" in text]
    assert says in line


def test_the_last_day_counts() -> None:
    assert one([counted("faq", 12, 2, 400)], entry(items=regressed(10), expires=TODAY))[1].verdict == "PASS"


def test_a_proof_is_always_of_all_items() -> None:
    """Without its regressions, any candidate could be certified."""
    pairs, accepted = [counted("faq", 12, 2, 400)], entry(items=regressed(12))
    assert one(pairs, accepted, certify=0.1)[1].verdict == "PASS"
    unproven = one(pairs, accepted, certify=0.01, on_inconclusive="fail")[1]
    assert (unproven.verdict, unproven.exit_code) == ("INCONCLUSIVE", 3)
    assert "do not prove what `certify` requires" in unproven.reasons[0]


def test_a_verdict_that_is_no_fail_keeps_its_reasons() -> None:
    full, found = one([counted("faq", 5, 4, 400)], entry(items=["i0"]))
    assert (full.verdict, found.verdict) == ("PASS", "PASS")
    assert found.reasons[0] == full.reasons[0]
    assert found.reasons[1].startswith("Without the accepted regressions, p = 0.637; the verdict is that of all items.")


def test_accepted_improvements_cannot_cause_a_fail() -> None:
    """Without 12 improvements, the other items would reject."""
    full, found = one([counted("faq", 12, 14, 400)], entry(items=[f"i{n}" for n in range(12, 26)]))
    assert found.accepted is not None
    assert found.accepted.p_value is not None
    assert found.accepted.p_value < 0.05
    assert (full.verdict, found.verdict) == ("PASS", "PASS")


def test_clusters_keep_their_other_items() -> None:
    names = [f"c{n // 4}" for n in range(200)]
    baseline = [1.0] * 200
    candidate = [float(n % 4 > 0 or n >= 80) for n in range(200)]
    worse = [f"i{n}" for n in range(0, 80, 4)]
    pairs = [scored("faq", baseline, candidate, names)]
    full, found = one(pairs, entry(items=worse[:19]))
    assert (full.verdict, found.verdict) == ("FAIL", "PASS")
    assert found.accepted is not None
    assert found.accepted.p_value == pytest.approx(0.5)  # one cluster with a difference is left


def test_several_candidates_are_excused_one_by_one() -> None:
    pairs = {"int8": [counted("faq", 12, 2, 400)], "int4": [counted("faq", 60, 2, 400)]}
    full, found = judged(pairs, [entry(items=regressed(12))])
    assert [one.verdict for one in full.values()] == ["FAIL", "FAIL"]
    assert [one.verdict for one in found.values()] == ["PASS", "FAIL"]


@settings(deadline=None, max_examples=15)
@given(
    st.integers(0, 30),
    st.integers(0, 30),
    st.lists(st.integers(0, 79), max_size=10, unique=True),
    st.sampled_from([None, 0.01, 0.2]),
)
def test_accept_only_ever_excuses(b: int, c: int, items: list[int], drop: float | None) -> None:
    """For any choice of items, also one that is made after the outcome, the false-positive rate cannot rise."""
    accepted = [entry(items=[f"i{n}" for n in items])] if items else []
    accepted += [entry(drop=drop)] if drop is not None else []
    full, found = one([counted("faq", b, c, 80)], *accepted)
    assert found.verdict == full.verdict or (full.verdict, found.verdict) in {
        ("FAIL", "PASS"),
        ("FAIL", "INCONCLUSIVE"),
    }
    assert (found.p_value, found.alpha, found.tasks) == (full.p_value, full.alpha, full.tasks)
    assert set(full.reasons[1:]) <= set(found.reasons)


# --- the section of gate.yml -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"items": ["a"], "drop": 0.1}, "either items or drop; found both"),
        ({}, "either items or drop; found neither"),
        ({"drop": 0.1, "reason": ""}, "at least 1 character"),
        ({"drop": 0.1, "expires": "soon"}, "expected a date such as 2026-12-31"),
        ({"drop": 1.5}, "less than 1"),
    ],
)
def test_an_entry_has_a_reason_a_date_and_one_kind(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        entry(**more)
    with pytest.raises(ValidationError, match="Field required"):
        AcceptSettings.model_validate({"task": "faq", "drop": 0.1})


CONFIG = "{version: 1, baseline: {model: a}, candidate: {model: b}, tasks: [arc], %s}"
ACCEPT = "accept: [{task: %s, drop: 0.01, reason: r, expires: 2026-12-31}]"


def test_gate_yml_has_the_section(tmp_path: Any) -> None:
    loaded = parse_config(CONFIG % (ACCEPT % "arc"), tmp_path / "gate.yml")
    assert loaded.config.accept[0].expires == date(2026, 12, 31)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (ACCEPT % "nowhere", "accept names tasks that are not in `tasks`: nowhere"),
        (ACCEPT % "arc" + ", decision: {alpha_spending: {kind: evalue}}", "cannot be used with alpha_spending evalue"),
        (ACCEPT % "arc" + ", decision: {early_stop: {}}", "cannot be used with early_stop"),
    ],
)
def test_combinations_that_would_mislead_are_refused(tmp_path: Any, section: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(CONFIG % section, tmp_path / "gate.yml")
