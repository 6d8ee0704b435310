"""Broken answers: which texts are broken, how many on each side, and what budgets and an excess of them do."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import binom

from gate.common.broken import PROBLEMS, loops, problems_of
from gate.config import DecisionSettings, TaskPolicy
from gate.decision import Decision, decide
from gate.decision.broken import broken_of
from gate.errors import ConfigError
from gate.importers.build import task_samples
from gate.report import Result, build_result
from gate.report.html import render_html
from gate.report.markdown import render_markdown
from gate.report.result import read_result, to_json
from gate.report.terminal import print_result
from gate.samples import ModelSamples, PairedTask, Pairing, pair
from gate.stats import mcnemar_exact

seeded = settings(max_examples=100, deadline=None, derandomize=True)
GOOD = ""


def pairing_of(*problems: list[str | None], scores: Any = None, name: str = "qa", **columns: Any) -> Pairing:
    sides = []
    for side, found in enumerate(problems):
        own = {key: value[side] if isinstance(value, tuple) else value for key, value in columns.items()}
        ids = own.pop("item_id", [f"{name}{n}" for n in range(len(found))])
        values = [1.0] * len(found) if scores is None else scores[side]
        samples = task_samples(name, "em", {"item_id": ids, "score": values, "problems": found, **own})
        sides.append(ModelSamples("m", {name: samples}))
    return pair(*sides)


def task(*problems: list[str | None], **columns: Any) -> PairedTask:
    return pairing_of(*problems, **columns).tasks[0]


def judged(*pairs: PairedTask, policy: dict[str, Any] | None = None, roles: Any = None, **decision: Any) -> Decision:
    policies = {one.task: TaskPolicy(**(policy or {})) for one in pairs}
    return decide(pairs, DecisionSettings(draws=1_000, **decision), roles=roles, policies=policies)


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=1, max_size=12), st.text("abc .,", max_size=300))
@seeded
def test_a_short_block_that_repeats_to_the_end_is_a_loop(block: list[str], before: str) -> None:
    assert loops(f"{before} " + f"{' '.join(block)} " * 128)


@given(st.integers(0, 2**32), st.integers(0, 400))
@seeded
def test_words_in_random_order_are_no_loop(seed: int, count: int) -> None:
    rng = random.Random(seed)
    assert not loops(" ".join(f"w{rng.randrange(50)}" for _ in range(count)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!" * 400, True), ("a" * 2000, True), ("的" * 60, True), ("yes " * 31, False), ("yes " * 32, True),
        ("0.1, " * 40, True), ("", False), ("\n" * 400, False),
        ("The first sentence is fine. " + "I am sorry. " * 40 + " ".join(map(str, range(200))), False),
    ],
)  # fmt: skip
def test_the_rule_of_loops(text: str, expected: bool) -> None:
    assert loops(text) is expected


def test_each_problem_is_named() -> None:
    assert problems_of("fine", "stop", True, True) == ()
    assert problems_of(" \n", "length", False, False) == ("truncated", "empty", "unreadable", "unclosed")
    assert problems_of("no " * 99) == ("loop",)


found = st.sampled_from([GOOD, "truncated", "empty", "loop unreadable", "truncated unclosed"])


@given(st.lists(st.tuples(found, found), min_size=1, max_size=60))
@seeded
def test_counts_and_the_test_are_those_of_the_flags(rows: list[tuple[str, str]]) -> None:
    before, after = (list(side) for side in zip(*rows, strict=True))
    result = broken_of(task(before, after, finish_reason=["stop"] * len(rows)))
    assert result is not None
    for counts, side in ((result.baseline, before), (result.candidate, after)):
        assert counts.broken == sum(map(bool, side))
        for name in PROBLEMS:
            assert getattr(counts, name) == sum(name in text.split() for text in side)
    newly = sum(not a and bool(b) for a, b in rows)
    no_longer = sum(bool(a) and not b for a, b in rows)
    assert (result.newly, result.no_longer) == (newly, no_longer)
    assert result.p_value == pytest.approx(mcnemar_exact(newly, no_longer).pvalue)
    assert result.p_value == pytest.approx(binom.sf(newly - 1, newly + no_longer, 0.5))


def test_clusters_flip_together() -> None:
    # 12 items in 3 clusters: the smallest possible p is 1/8, not 1/4096
    clusters = [f"c{n // 4}" for n in range(12)]
    result = broken_of(task([GOOD] * 12, ["empty"] * 12, cluster=clusters))
    assert result is not None
    assert result.p_value == pytest.approx(1 / 8)


def test_an_item_is_broken_if_any_of_its_answers_is() -> None:
    repeats = {"item_id": ["a", "a", "b", "b"], "repeat": [0, 1, 0, 1]}
    result = broken_of(task([GOOD] * 4, [GOOD, "loop", GOOD, GOOD], **repeats))
    assert result is not None
    assert (result.candidate.loop, result.candidate.broken, result.newly) == (1, 1, 1)


def test_samples_without_records_are_read_from_their_outputs() -> None:
    unknown: list[str | None] = [None] * 3
    result = broken_of(task(unknown, unknown, output=(["fine", "x", "y"], ["", "so " * 99, "y"])))
    assert result is not None
    assert (result.candidate.truncated, result.candidate.empty, result.candidate.loop) == (None, 1, 1)
    assert broken_of(task(unknown, unknown, output=["fine", "x", "y"])) is None
    assert broken_of(task(unknown, unknown)) is None
    choices = [["a", "b"]] * 3
    assert broken_of(task(unknown, unknown, output=["", "", ""], choices=choices)) is None


def test_an_excess_is_a_warning_and_does_not_decide() -> None:
    decision = judged(task([GOOD] * 40, ["truncated"] * 12 + [GOOD] * 28))
    assert decision.verdict == "PASS"
    (finding,) = decision.warnings
    assert (finding.kind, finding.blocks) == ("broken", False)
    assert "More answers of the candidate are broken on qa: 12 against 0 (40 items; p = 0.000244)" in finding.message
    assert not judged(task([GOOD] * 40, ["truncated"] * 3 + [GOOD] * 37)).warnings


@pytest.mark.parametrize(
    ("own", "decision", "verdict"),
    [
        ({"max_broken": 0.29}, {}, "FAIL"), ({"max_broken": 0.3}, {}, "PASS"), ({"max_truncated": 0.09}, {}, "FAIL"),
        ({"max_truncated": 0.1}, {}, "PASS"), ({}, {"max_broken": 0.29}, "FAIL"), ({}, {"max_broken": 0.3}, "PASS"),
        ({}, {"max_truncated": 0.09}, "FAIL"), ({}, {"max_truncated": 0.1}, "PASS"),
    ],
)  # fmt: skip
def test_a_budget_is_a_limit_on_the_candidate(own: dict[str, float], decision: dict[str, float], verdict: str) -> None:
    broken = ["truncated"] * 4 + ["loop"] * 8 + [GOOD] * 28
    result = judged(task(broken, broken, finish_reason=["stop"] * 40), policy=own, **decision)
    assert result.verdict == verdict
    words = {"max_broken": "broken", "max_truncated": "stopped by their length"}[next(iter(own | decision))]
    assert any(words in reason for reason in result.reasons) is (verdict == "FAIL")


def test_a_budget_of_an_advisory_task_does_not_decide() -> None:
    fine = task([GOOD] * 40, [GOOD] * 40, name="fine")
    broken = task([GOOD] * 40, ["empty"] * 10 + [GOOD] * 30)
    decision = judged(fine, broken, policy={"max_broken": 0.1}, roles={"qa": "advisory"}, max_broken=0.1)
    assert decision.verdict == "PASS"
    assert decision.tasks[1].limits[0].exceeded


@pytest.mark.parametrize(
    ("columns", "key", "message"),
    [
        ({"choices": [["a", "b"]] * 9}, "max_broken", "it has no generated texts"),
        ({"output": [""] * 9}, "max_truncated", "its texts do not tell why they ended"),
    ],
)
def test_a_budget_on_what_is_unknown_is_refused(columns: dict[str, Any], key: str, message: str) -> None:
    unknown: list[str | None] = [None] * 9
    with pytest.raises(ConfigError) as caught:
        judged(task(unknown, unknown, **columns), policy={key: 0.1})
    assert message in str(caught.value)
    with pytest.raises(ConfigError, match=key):
        judged(task(unknown, unknown, **columns), **{key: 0.1})


def test_two_models_that_answer_nothing_never_pass() -> None:
    empty = task(["empty"] * 50, ["empty"] * 50)  # the scorer gives full marks to silence
    decision = judged(empty)
    assert (decision.verdict, decision.exit_code) == ("INCONCLUSIVE", 3)
    assert "Neither model answers on qa: all texts of both models are empty (50 items)" in decision.reasons[0]
    advisory = judged(empty, task([GOOD] * 50, [GOOD] * 50, name="fine"), roles={"qa": "advisory"})
    assert advisory.verdict == "PASS"
    assert "Neither model answers on qa" in advisory.warnings[0].message


def test_mostly_broken_answers_of_both_models_are_a_warning() -> None:
    mostly = ["truncated"] * 30 + [GOOD] * 20
    (finding,) = judged(task(mostly, mostly)).warnings
    assert "Most answers of both models on qa are broken (30 of the baseline, 30 of the candidate" in finding.message


def test_a_significant_excess_of_one_of_many_tasks_is_corrected_for_their_number() -> None:
    # 5 against 0: p = .03125, significant alone and not among four tasks
    one = task([GOOD] * 40, ["loop"] * 5 + [GOOD] * 35)
    others = [task([GOOD] * 40, [GOOD] * 40, name=f"t{n}") for n in range(3)]
    assert judged(one).warnings
    assert not judged(one, *others).warnings


def result_of(before: list[str | None], after: list[str | None]) -> Result:
    pairing = pairing_of(before, after, finish_reason=["stop"] * len(before))
    sides = [ModelSamples(label, {}, {}) for label in ("a", "b")]
    policy = DecisionSettings(draws=1_000)
    return build_result(decide(pairing.tasks, policy), pairing, *sides, policy, 0, [])


def test_every_report_shows_the_counts(tmp_path: Path) -> None:
    result = result_of([GOOD] * 38 + ["empty"] * 2, ["truncated"] * 9 + ["loop truncated"] * 3 + [GOOD] * 28)
    (tmp_path / "result.json").write_text(to_json(result))
    again = read_result(tmp_path / "result.json")
    assert again.tasks[0].broken == result.tasks[0].broken
    stream = io.StringIO()
    print_result(result, Console(file=stream, width=220))
    for text in (render_markdown(result), render_html(result), stream.getvalue()):
        assert "Broken answers: 2 of the baseline, 12 of the candidate, in 1 task" in text
        for cell in ("0 → 12", "2 → 0", "0 → 3", "2 → 12 (5.0% → 30.0%)", "12 newly, 2 no longer", "0.00647"):
            assert cell in text
    plain = result_of([None] * 9, [None] * 9)
    assert "Broken answers" not in render_markdown(plain)
    assert "Broken answers" not in render_html(plain)


def test_the_size_of_the_test_is_at_most_its_level() -> None:
    rng = np.random.default_rng(5)
    rejected = 0
    for _ in range(400):
        before, after = (rng.random(60) < 0.2 for _ in range(2))
        sides = [["loop" if flag else GOOD for flag in flags] for flags in (before, after)]
        result = broken_of(task(*sides))
        assert result is not None
        rejected += result.p_value <= 0.05
    assert rejected <= binom.ppf(0.999, 400, 0.05)
