"""Registry tasks answered by our engine give, document by document, what lm-eval's own run gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.harness_tasks import write_tasks
from support.runs import opened, our_rows, our_task, their_samples

from gate.engines import Engine

# task, our settings, the metric under lm-eval's name
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("own_choice", {}, "acc"),
    ("own_choice", {"metric": "acc_norm"}, "acc_norm"),
    ("own_shots", {}, "acc"),
    ("own_mutual", {"metric": "acc_mutual_info"}, "acc_mutual_info"),
    ("own_blank", {}, "acc"),
    ("own_last_word", {}, "acc"),
    ("own_last_word", {"metric": "perplexity"}, "perplexity"),
    ("own_text", {"metric": "word_perplexity"}, "word_perplexity"),
    ("own_text", {"metric": "bits_per_byte"}, "bits_per_byte"),
    ("own_written", {}, "exact_match"),
    ("own_written", {"filter": "whole"}, "exact_match"),
    ("own_edits", {}, "edits"),
]


@pytest.fixture(scope="module")
def own_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Engine:
    return opened(tiny_model)


@pytest.fixture(scope="module")
def theirs(own_tasks: Path, tiny_model: Path) -> dict[str, list[dict[str, Any]]]:
    names = list(dict.fromkeys(name for name, _, _ in CASES))
    return their_samples(own_tasks, names, model_folder=tiny_model)


def expected_score(metric: str, value: Any) -> float:
    if metric in ("word_perplexity", "bits_per_byte"):
        loglikelihood, units = value
        return float(loglikelihood / units)
    return -float(value) if metric == "edits" else float(value)


@pytest.mark.parametrize(("name", "settings", "metric"), CASES)
def test_every_document_is_asked_and_scored_as_by_lm_eval(
    own_tasks: Path,
    engine: Engine,
    theirs: dict[str, list[dict[str, Any]]],
    name: str,
    settings: dict[str, Any],
    metric: str,
) -> None:
    task = our_task(own_tasks, name, **settings)
    rows = our_rows(task, engine)
    samples = [one for one in theirs[name] if one["filter"] == task.facets["filter"]]
    assert len(rows) == len(samples) > 0
    for row, sample in zip(rows, samples, strict=True):
        assert row["prompt_hash"] == sample["prompt_hash"]
        assert row["score"] == pytest.approx(expected_score(metric, sample[metric]), abs=1e-4)
        assert row["task"] == name
        if row["choice_logprobs"] is not None:
            logged = [one[0] if isinstance(one, tuple) else one for one in sample["filtered_resps"]]
            assert row["choice_logprobs"] == pytest.approx(logged[: len(row["choice_logprobs"])], abs=1e-3)
        elif isinstance(sample["filtered_resps"][0], str):
            assert row["output"] == sample["filtered_resps"][0]
    if metric in ("acc", "acc_norm", "acc_mutual_info") and name != "own_last_word":
        assert (
            0 < sum(row["score"] for row in rows) < len(rows)
        )  # a test that sees only one side proves nothing


def test_scores_that_are_right_or_wrong_are_kept_as_such(own_tasks: Path, engine: Engine) -> None:
    rows = our_rows(our_task(own_tasks, "own_choice"), engine)
    assert all(row["correct"] == (row["score"] == 1.0) == (row["output"] == row["target"]) for row in rows)
    assert {row["correct"] for row in rows} == {True, False}
    perplexities = our_rows(our_task(own_tasks, "own_text"), engine)
    assert {row["correct"] for row in perplexities} == {None}
    assert all(row["score"] < 0 for row in perplexities)  # nats a word: larger is better
    negated = our_rows(our_task(own_tasks, "own_edits"), engine)
    assert all(row["score"] <= 0 for row in negated)


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("shots", [1, 4])
def test_few_shot_prompts_are_the_same_text(
    own_tasks: Path, engine: Engine, tiny_model: Path, shots: int, chat: bool
) -> None:
    theirs = their_samples(
        own_tasks,
        ["own_shots"],
        model_folder=tiny_model,
        num_fewshot=shots,
        apply_chat_template=chat,
        limit=6,
    )["own_shots"]
    task = our_task(own_tasks, "own_shots", fewshot=shots, chat_template=chat, limit=6)
    rows = our_rows(task, engine)
    assert [row["prompt_hash"] for row in rows] == [sample["prompt_hash"] for sample in theirs]
    assert [row["score"] for row in rows] == [sample["acc"] for sample in theirs]


def test_a_group_is_one_task_of_all_its_subtasks_documents(
    own_tasks: Path, engine: Engine, tiny_model: Path
) -> None:
    theirs = their_samples(own_tasks, ["own_group"], model_folder=tiny_model)
    task = our_task(own_tasks, "own_group")
    rows = our_rows(task, engine)
    for part in ("own_part_a", "own_part_b"):
        scores = [row["score"] for row in rows if row["task"] == part]
        assert scores == [sample["acc"] for sample in theirs[part]]
    assert len({row["item_id"] for row in rows}) == len(rows) == 13 + 14


def test_what_a_task_does_to_a_document_does_not_reach_the_next_model(
    own_tasks: Path, engine: Engine
) -> None:
    task = our_task(own_tasks, "own_edits")
    assert our_rows(task, engine) == our_rows(task, engine)


REAL: list[tuple[str, str, dict[str, Any]]] = [
    (
        "step_inference",
        "acc_norm",
        {"output_type": "multiple_choice", "doc_to_choice": "{{ choices }}", "doc_to_target": "gold"},
    ),
    (
        "goal_inference",
        "acc",
        {"output_type": "loglikelihood", "doc_to_target": " {{ choices[gold].split()[0] }}"},
    ),
    (
        "social_iqa",
        "exact_match",
        {
            "output_type": "generate_until",
            "doc_to_target": "{{ choices[gold] }}",
            "generation_kwargs": {"until": ["\n", "."], "max_gen_toks": 12},
        },
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("data", "metric", "kind"), REAL, ids=[name for name, _, _ in REAL])
def test_a_real_model_answers_every_document_as_with_lm_eval(
    tmp_path: Path, smollm2: Path, shared_data: Path, data: str, metric: str, kind: dict[str, Any]
) -> None:
    path = tmp_path / "items.jsonl"
    lines = (shared_data / "bigbench" / f"{data}.jsonl").read_text(encoding="utf-8").splitlines()[:16]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    task = {
        "task": "real",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(path)}},
        "test_split": "test",
        "doc_to_text": "Q: {{ question }}\nA:",
        "metric_list": [{"metric": metric, "aggregation": "mean", "higher_is_better": True}],
        **kind,
    }
    (tmp_path / "real.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    theirs = their_samples(tmp_path, ["real"], model_folder=smollm2)["real"]
    rows = our_rows(our_task(tmp_path, "real"), opened(smollm2))
    assert [row["score"] for row in rows] == [sample[metric] for sample in theirs]
    assert [row["prompt_hash"] for row in rows] == [sample["prompt_hash"] for sample in theirs]
    if metric == "exact_match":
        assert [row["output"] for row in rows] == [sample["filtered_resps"][0] for sample in theirs]
    else:
        for row, sample in zip(rows, theirs, strict=True):
            assert row["choice_logprobs"] == pytest.approx(
                [one[0] for one in sample["filtered_resps"]], abs=1e-3
            )


def test_tasks_stand_on_their_own_folder(tmp_path: Path, own_tasks: Path) -> None:
    """The same task files elsewhere are the same task: no path of this machine is in a fingerprint."""
    elsewhere = write_tasks(tmp_path / "copy")
    for name in ("own_choice", "own_shots", "own_edits", "own_group"):
        here, there = our_task(own_tasks, name), our_task(elsewhere, name)
        assert here.facets == there.facets
        assert here.fingerprint == there.fingerprint
