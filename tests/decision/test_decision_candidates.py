"""Several candidates: one alone is judged as before, adjusted p-values lie between single ones and Holm's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.config import DecisionSettings
from gate.decision import EarlyStopping, decide
from gate.decision.candidates import Entrant, decide_candidates
from gate.decision.rows import Judged, evidence_of
from gate.decision.shared_units import shared_units
from gate.importers import read_foreign
from gate.samples import PairedTask, pair
from gate.stats import holm

ITEMS = 200
ROWS = "task,item_id,output,target,correct,cluster"


def write(path: Path, scores: dict[str, list[int]], clusters: dict[str, list[str]] | None = None) -> Path:
    """Write a CSV of right and wrong answers by task."""
    rows = [
        f"{task},{task}{item},x,x,{right},{(clusters or {}).get(task, [''] * len(values))[item]}"
        for task, values in scores.items()
        for item, right in enumerate(values)
    ]
    path.write_text("\n".join([ROWS, *rows]) + "\n", encoding="utf-8")
    return path


def scores(seed: int, lost: float = 0.0, gained: float = 0.0) -> dict[str, list[int]]:
    """Return the answers of a model that loses and gains shares of a common baseline's items, in two tasks."""
    generator = np.random.default_rng(seed)
    base = np.arange(ITEMS) % 10 < 7
    answers = {}
    for task in ("faq", "law"):
        change = generator.random(ITEMS)
        answers[task] = np.where(base, change >= lost, change < gained).astype(int).tolist()
    return answers


def pairs(tmp_path: Path, candidate: dict[str, list[int]], **more: object) -> tuple[PairedTask, ...]:
    base = write(tmp_path / "base.csv", scores(0), **more)
    other = write(tmp_path / "other.csv", candidate, **more)
    return pair(read_foreign(base), read_foreign(other)).tasks


def test_one_candidate_alone_is_judged_as_without_candidates(tmp_path: Path) -> None:
    tasks = pairs(tmp_path, scores(1, 0.1, 0.05))
    policy = DecisionSettings(certify=0.02)
    assert decide_candidates({"one": Entrant(tasks)}, policy)["one"] == decide(tasks, policy)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.floats(0, 0.12), st.floats(0, 0.3)), min_size=2, max_size=4),
    st.sampled_from(["omnibus", "pooled", "max", "fisher", "holm"]),
)
@settings(max_examples=6, deadline=None)
def test_adjusted_p_values_lie_between_the_single_ones_and_holms(
    tmp_path_factory: pytest.TempPathFactory, candidates: list[tuple[int, float, float]], rule: str
) -> None:
    folder = tmp_path_factory.mktemp("pairs")
    policy = DecisionSettings(rule=rule, draws=5_000)
    entrants = {f"c{i}": Entrant(pairs(folder, scores(*given))) for i, given in enumerate(candidates)}
    decisions = decide_candidates(entrants, policy)
    alone = [decide(entrant.pairs, policy).p_value for entrant in entrants.values()]
    adjusted = [decision.p_value for decision in decisions.values()]
    assert [decision.p_alone for decision in decisions.values()] == alone
    assert all(low <= p <= high + 1e-12 for low, p, high in zip(alone, adjusted, holm(alone).tolist(), strict=True))
    for decision in decisions.values():
        assert (decision.verdict == "FAIL") == (decision.p_value <= 0.05)
        assert decision.adjustment.method == "step-down"


def test_the_same_candidate_three_times_costs_nothing(tmp_path: Path) -> None:
    tasks = pairs(tmp_path, scores(1, 0.07, 0.08))
    p = decide(tasks, DecisionSettings()).p_value
    decisions = decide_candidates({name: Entrant(tasks) for name in "abc"}, DecisionSettings())
    assert 0.001 < p < 0.2
    assert [decision.p_value for decision in decisions.values()] == pytest.approx([p] * 3, rel=0.05)


def test_a_task_fails_only_where_its_candidate_does(tmp_path: Path) -> None:
    tasks = pairs(tmp_path, scores(3, 0.061, 0.06))
    alone = decide(tasks, DecisionSettings())
    policy = DecisionSettings(alpha=min(0.99, alone.p_value * 1.02))
    assert decide(tasks, policy).verdict == "FAIL"
    others = {f"c{seed}": Entrant(pairs(tmp_path, scores(seed, 0.06, 0.14))) for seed in range(10, 16)}
    decision = decide_candidates({"one": Entrant(tasks), **others}, policy)["one"]
    assert decision.verdict == "PASS"
    assert decision.failed_tasks == []


def test_at_a_margin_holm_adjusts_the_valid_p_values(tmp_path: Path) -> None:
    policy = DecisionSettings(margin=0.01)
    entrants = {f"c{seed}": Entrant(pairs(tmp_path, scores(seed, 0.1, 0.02))) for seed in (1, 2)}
    decisions = decide_candidates(entrants, policy)
    alone = [decide(entrant.pairs, policy).p_value for entrant in entrants.values()]
    assert [decision.p_value for decision in decisions.values()] == pytest.approx(holm(alone).tolist())
    assert {decision.adjustment.method for decision in decisions.values()} == {"holm"}


def test_candidates_share_the_level_of_early_stopping(tmp_path: Path) -> None:
    policy = DecisionSettings(early_stop={"alpha": 0.01})
    early = EarlyStopping(alpha=0.005, log_e_value=float(np.log(300)), stopped=True, items=100, total=400)
    quiet = early.model_copy(update={"stopped": False, "log_e_value": 0.0, "items": 400})
    decisions = decide_candidates(
        {
            "stopped": Entrant(pairs(tmp_path, scores(1, 0.3)), early),
            "complete": Entrant(pairs(tmp_path, scores(2, 0.02, 0.05)), quiet),
        },
        policy,
    )
    assert decisions["stopped"].verdict == "FAIL"
    assert decisions["stopped"].p_value == pytest.approx(2 / 300)
    assert decisions["complete"].verdict == "PASS"
    assert decisions["complete"].alpha == pytest.approx(0.04)


def test_units_are_items_matched_by_id_and_clusters_of_any_candidate(tmp_path: Path) -> None:
    answers = {"faq": [1, 1, 1, 0], "law": [1, 1]}
    worse = {"faq": [0, 1, 0, 0], "law": [1, 0]}
    clusters = {"faq": ["a", "a", "", ""], "law": ["", ""]}
    base = read_foreign(write(tmp_path / "base.csv", answers))
    one = pair(base, read_foreign(write(tmp_path / "one.csv", worse))).tasks
    reordered = {"faq": worse["faq"], "law": worse["law"]}
    two_path = write(tmp_path / "two.csv", reordered, clusters)
    lines = two_path.read_text(encoding="utf-8").splitlines()
    two_path.write_text("\n".join([lines[0], *lines[:0:-1]]), encoding="utf-8")
    two = pair(base, read_foreign(two_path)).tasks
    judged = [[Judged(task, "gating", evidence_of(task, 0)) for task in tasks] for tasks in (one, two)]
    faq, law = shared_units(judged)
    assert faq.candidates.tolist() == law.candidates.tolist() == [0, 1]
    # items 0 and 1 are one unit for both candidates, although only the second file has the cluster
    assert sorted(faq.differences.tolist()) == [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
    assert sorted(law.differences.tolist()) == [[0.0, 0.0], [1.0, 1.0]]
