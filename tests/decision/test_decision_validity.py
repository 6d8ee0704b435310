"""A run that could not have shown a loss gives no PASS; doubtful data are named before the verdict."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from gate.config import DecisionSettings, TaskPolicy
from gate.decision import Decision, decide
from gate.decision.dependence import joined, links_of
from gate.decision.rows import Judged, evidence_of
from gate.decision.validity import chance_of, same_source
from gate.errors import ConfigError
from gate.importers.build import task_samples
from gate.samples import ModelSamples, PairedTask, pair
from gate.stats import combine

Scores = list[float]


def task(name: str, a: Scores, b: Scores, **columns: Any) -> PairedTask:
    sides = []
    for side, scores in enumerate((a, b)):
        own = {key: values[side] if key in ("output", "choice_logprobs") else values for key, values in columns.items()}
        samples = task_samples(
            name, "acc", {"item_id": [f"{name}{n}" for n in range(len(scores))], "score": scores, **own}
        )
        sides.append(ModelSamples("m", {name: samples}))
    return pair(*sides).tasks[0]


def choices(items: int, count: int = 4) -> list[list[str]]:
    return [[str(choice) for choice in range(count)]] * items


def right(n: int, of: int) -> Scores:
    return [1.0] * n + [0.0] * (of - n)


def judged(
    *pairs: PairedTask, tasks: dict[str, dict[str, Any]] | None = None, roles: Any = None, **settings: Any
) -> Decision:
    policies = {name: TaskPolicy(**keys) for name, keys in (tasks or {}).items()}
    return decide(pairs, DecisionSettings(**{"draws": 10_000, **settings}), roles=roles, policies=policies)


FINE = task("fine", right(80, 100), right(80, 100))


def kinds(decision: Decision) -> list[tuple[str, str | None]]:
    return [(finding.kind, finding.task) for finding in decision.validity]


def test_two_models_without_a_right_answer_are_inconclusive_and_not_certified() -> None:
    decision = judged(task("qa", [0.0] * 300, [0.0] * 300), certify=0.05)
    assert (decision.verdict, decision.exit_code) == ("INCONCLUSIVE", 3)
    assert decision.certification is not None
    assert not decision.certification.certified
    assert decision.reasons == [decision.validity[0].message]
    assert decision.reasons[0].startswith("The baseline is at chance on qa (it answers none of 300 items right)")


def test_a_task_at_chance_makes_the_run_inconclusive_beside_fine_ones() -> None:
    guessing = task("guessing", right(27, 100), right(25, 100), choices=choices(100))
    decision = judged(FINE, guessing, tasks={"guessing": {"certify": 0.5}, "fine": {"certify": 0.5}})
    assert (decision.verdict, decision.exit_code) == ("INCONCLUSIVE", 3)
    assert kinds(decision) == [("chance", "guessing")]
    assert "27.0% of 100 items, chance is 25.0%" in decision.reasons[0]
    certified = {row.task: row.certification.certified for row in decision.tasks if row.certification}
    assert certified == {"fine": True, "guessing": False}


def test_a_loss_on_another_task_stays_a_fail_with_the_doubt_as_a_warning() -> None:
    guessing = task("guessing", right(27, 100), right(25, 100), choices=choices(100))
    decision = judged(task("lost", right(80, 100), right(40, 100)), guessing)
    assert (decision.verdict, decision.exit_code) == ("FAIL", 1)
    assert [finding.task for finding in decision.warnings] == ["guessing"]
    assert not any("at chance" in reason for reason in decision.reasons)


def test_an_advisory_task_at_chance_does_not_matter() -> None:
    guessing = task("guessing", right(27, 100), right(25, 100), choices=choices(100))
    decision = judged(FINE, guessing, roles={"guessing": "advisory"})
    assert (decision.verdict, decision.validity) == ("PASS", [])


@pytest.mark.parametrize("n", [20, 100, 400])
def test_the_floor_is_the_exact_binomial_test_at_5_percent(n: int) -> None:
    first = next(k for k in range(n + 1) if binom.sf(k - 1, n, 0.25) <= 0.05)
    for count, verdict in ((first - 1, "INCONCLUSIVE"), (first, "PASS")):
        scores = right(count, n)
        assert judged(task("mc", scores, scores, choices=choices(n))).verdict == verdict


def test_chance_is_the_mean_over_items_of_one_divided_by_the_choices() -> None:
    mixed = task("mixed", right(4, 4), right(4, 4), choices=[["a", "b"], ["a", "b", "c", "d"], None, ["a", "b"]])
    assert chance_of(Judged(mixed, "gating", evidence_of(mixed, 0))) == pytest.approx((0.5 + 0.25 + 0 + 0.5) / 4)
    scored = task("logs", right(4, 4), right(4, 4), choice_logprobs=[[[-1.0, -2.0, -3.0]] * 4] * 2)
    assert chance_of(Judged(scored, "gating", evidence_of(scored, 0))) == pytest.approx(1 / 3)


def test_a_declared_chance_replaces_the_one_from_the_choices() -> None:
    coin = task("coin", right(52, 100), right(52, 100))
    assert judged(coin).verdict == "PASS"
    assert judged(coin, tasks={"coin": {"chance": 0.5}}).verdict == "INCONCLUSIVE"
    guessing = task("guessing", right(27, 100), right(27, 100), choices=choices(100))
    assert judged(guessing, tasks={"guessing": {"chance": 0.0}}).verdict == "PASS"


def test_graded_scores_have_a_floor_too() -> None:
    rng = np.random.default_rng(0)
    high, low = (rng.uniform(0, top, 100).tolist() for top in (1.0, 0.5))
    assert judged(task("f1", [0.0] * 50, [0.0] * 50)).verdict == "INCONCLUSIVE"
    assert judged(task("f1", high, high), tasks={"f1": {"chance": 0.25}}).verdict == "PASS"
    assert judged(task("f1", low, low), tasks={"f1": {"chance": 0.25}}).verdict == "INCONCLUSIVE"


@pytest.mark.parametrize("scores", [[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]], ids=str)
def test_of_a_run_with_too_few_items_the_number_of_items_is_the_reason(scores: Scores) -> None:
    decision = judged(task("faq", scores, scores, choices=choices(2)))
    assert (decision.verdict, kinds(decision)) == ("INCONCLUSIVE", [("blind", None)])
    (reason,) = decision.reasons
    assert reason.startswith("The run is too small to show a loss: it has 2 items, so that p is at least 0.25")
    assert reason.endswith("Use at least 5 items.")


def test_a_task_with_too_few_items_is_named_as_too_small() -> None:
    decision = judged(FINE, task("few", [1.0, 1.0], [1.0, 1.0], choices=choices(2, 3)))
    assert (decision.verdict, kinds(decision)) == ("INCONCLUSIVE", [("chance", "few")])
    assert decision.reasons[0].startswith(
        "Task few has 2 items, too few to show that the baseline is better than chance"
    )
    enough = task("few", [1.0] * 3, [1.0] * 3, choices=choices(3, 3))
    assert kinds(judged(FINE, enough)) == []


def test_a_baseline_with_too_little_to_lose_is_the_reason_where_items_are_enough() -> None:
    decision = judged(task("hard", right(4, 100), right(4, 100)))
    assert (decision.verdict, kinds(decision)) == ("INCONCLUSIVE", [("blind", None)])
    assert "the baseline has something to lose on 4 independent items of 100 items" in decision.reasons[0]


@pytest.mark.parametrize("policy", ["pass", "fail"])
def test_an_invalid_run_never_exits_with_0(policy: str) -> None:
    decision = judged(task("one", [1.0], [1.0]), on_inconclusive=policy)
    assert (decision.verdict, decision.exit_code, decision.blocks) == ("INCONCLUSIVE", 3, True)
    assert kinds(decision) == [("blind", None)]


@pytest.mark.parametrize("n", range(1, 8))
def test_a_run_is_blind_exactly_where_losing_everything_is_not_significant(n: int) -> None:
    lost, kept = (judged(task("t", [1.0] * n, [score] * n)) for score in (0.0, 1.0))
    assert (lost.verdict == "FAIL") == (kept.verdict == "PASS") == (n >= 5)


def test_one_cluster_and_equal_prompts_are_one_item() -> None:
    scores = [1.0] * 50
    assert kinds(judged(task("t", scores, scores, cluster=["same"] * 50))) == [("blind", None)]
    # equal answers to equal prompts: at margin 0, only changed items are joined
    repeated = task("t", scores, scores, prompt_hash=["same"] * 50, target=["x"] * 50)
    assert judged(repeated, certify=0.5).verdict == "INCONCLUSIVE"


def test_an_implausible_gain_is_a_warning_and_leaves_the_verdict() -> None:
    decision = judged(task("qa", right(50, 100), right(70, 100)))
    assert (decision.verdict, decision.exit_code) == ("PASS", 0)
    (warning,) = decision.warnings
    assert (warning.kind, warning.task, warning.blocks) == ("gain", "qa", False)
    assert "better by 20.0 points on qa (two-sided p = 1.9e-06)" in warning.message


@pytest.mark.parametrize(
    ("gained", "lost", "n", "named"),
    [
        (12, 2, 100, False),  # p = .013
        (14, 1, 100, True),  # p = .00098
        (40, 10, 1000, False),  # 3 points
        (14, 1, 260, False),  # 5 points, not more
    ],
)
def test_a_gain_is_implausible_at_a_tenth_of_alpha_and_above_5_points(
    gained: int, lost: int, n: int, named: bool
) -> None:
    rest = (n - gained - lost) // 2
    a = [0.0] * gained + [1.0] * lost + [1.0] * rest + [0.0] * (n - gained - lost - rest)
    b = [1.0] * gained + [0.0] * lost + [1.0] * rest + [0.0] * (n - gained - lost - rest)
    assert ("gain", "t") in kinds(judged(task("t", a, b))) or not named
    assert bool(kinds(judged(task("t", a, b)))) == named


def test_margins_and_bounds_on_scores_of_unknown_range_are_refused() -> None:
    ratings = task("ratings", [7.0, 8.0, 9.0] * 10, [7.0, 8.0, 8.0] * 10)
    for settings in ({"margin": 0.01}, {"certify": 0.01}):
        with pytest.raises(
            ConfigError, match=r"task ratings: (margin|certify) is a proportion, but the scores range from 7 to 9"
        ):
            judged(ratings, **settings)
    for own in ({"margin": 0.01}, {"certify": 0.01}, {"max_drop": 0.01}):
        with pytest.raises(ConfigError, match=r"`scale: \[low, high\]`"):
            judged(ratings, tasks={"ratings": own})
    assert judged(ratings).tasks[0].unit == "score"
    # an advisory task is only reported, without the common margin
    advisory = judged(FINE, ratings, roles={"ratings": "advisory"}, margin=0.01)
    assert [row.margin for row in advisory.tasks] == [0.01, 0.0]


def test_items_repeated_in_two_tasks_are_one_piece_of_evidence() -> None:
    prompts = [f"p{n}" for n in range(40)]
    columns: dict[str, Any] = {"prompt_hash": prompts, "target": ["x"] * 40}
    a, b = [1.0] * 40, [0.0] * 5 + [1.0] * 35
    sides = [
        ModelSamples(
            "m", {name: task_samples(name, "acc", {"item_id": prompts, "score": scores, **columns}) for name in "xy"}
        )
        for scores in (a, b)
    ]
    pairing = pair(*sides)
    once = judged(*pairing.tasks)
    assert once.aggregate.pooled.p == pytest.approx(2.0**-5)  # twice the evidence would be 2**-10
    assert once.p_value == pytest.approx(2.0**-5, abs=0.01)
    assert pairing.notes[0].startswith("40 of 80 items repeat the prompt of another item")


@pytest.mark.parametrize("copies", [pytest.param(2, marks=pytest.mark.exhaustive), 5])
def test_duplicated_items_keep_the_level_of_the_omnibus_test(copies: int) -> None:
    """A model with noise only; a quarter of the questions occurs several times, over two tasks."""
    rng = np.random.default_rng(copies)
    runs, fails = 200, 0
    for _ in range(runs):
        asked = [f"p{n % 15 if n < 15 * copies else n}" for n in range(15 * copies + 60)]
        changes = {prompt: float(rng.choice([-1, 0, 0, 1])) for prompt in asked}
        half = np.arange(len(asked)) % 2
        sides: list[dict[str, Any]] = [{}, {}]
        for name, part in (("x", 0), ("y", 1)):
            prompts = [prompt for prompt, own in zip(asked, half, strict=True) if own == part]
            base = [1.0 if changes[prompt] <= 0 else 0.0 for prompt in prompts]
            after = [
                score + changes[prompt] if changes[prompt] else score
                for score, prompt in zip(base, prompts, strict=True)
            ]
            for side, scores in zip(sides, (base, after), strict=True):
                columns = {
                    "item_id": [f"{name}{n}" for n in range(len(prompts))],
                    "score": scores,
                    "prompt_hash": prompts,
                    "target": ["x"] * len(prompts),
                }
                side[name] = task_samples(name, "acc", columns)
        pairs = joined(pair(*(ModelSamples("m", side) for side in sides)).tasks, {})
        tasks = [Judged(pair_, "gating", evidence_of(pair_, 0)) for pair_ in pairs]
        links = links_of(pairs, 0)
        fails += combine([one.evidence for one in tasks], links=links, n_resamples=1_000, rng=0).pvalue <= 0.05
    assert fails / runs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)


def about(**facts: Any) -> dict[str, object]:
    return facts


HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("a", "b", "kind"),
    [
        (about(files=[{"sha256": "1" * 64}]), about(files=[{"sha256": "1" * 64}]), "same-file"),
        (about(files=[{"sha256": "1" * 64}]), about(files=[{"sha256": "2" * 64}]), None),
        (about(fingerprint="f", weights=HASH), about(fingerprint="f", weights=HASH), "same-model"),
        (
            about(fingerprint="f", weights=HASH, engine="a"),
            about(fingerprint="g", weights=HASH, engine="b"),
            "same-weights",
        ),
        (about(fingerprint="f", weights="unknown"), about(fingerprint="g", weights="unknown"), None),
        (about(), about(), None),
    ],
)
def test_equal_sources_are_named(a: dict[str, object], b: dict[str, object], kind: str | None) -> None:
    found = same_source(a, b, [FINE])
    assert [finding.kind for finding in found] == ([] if kind is None else [kind])
    assert not any(finding.blocks for finding in found)
    if kind == "same-weights":
        assert found[0].message.endswith("they differ in: engine.")


def test_identical_answers_of_two_files_are_named() -> None:
    logs = [[-1.0, -2.0], [-3.0, -0.5]]
    equal = task("t", [1.0, 0.0], [1.0, 0.0], choice_logprobs=[logs, logs])
    other = task("t", [1.0, 0.0], [1.0, 0.0], choice_logprobs=[logs, [[-1.0, -2.0], [-3.0, -0.6]]])
    texts = task("t", [1.0, 0.0], [1.0, 0.0], output=[["a", "b"], ["a", "b"]])
    assert [finding.kind for finding in same_source({}, {}, [equal, texts])] == ["same-answers"]
    assert same_source({}, {}, [equal, other]) == []
