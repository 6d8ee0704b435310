"""Registry tasks get the same prompts, answers and scores from gate as from lm-eval, document by document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.harness_tasks import write_tasks
from support.opened import open_model
from support.runs import gate_rows, gate_task, lm_eval_samples

from gate.engines import Engine

# task, settings of gate, lm-eval's name of the metric
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
def logged(own_tasks: Path, tiny_model: Path) -> dict[str, list[dict[str, Any]]]:
    names = list(dict.fromkeys(name for name, _, _ in CASES))
    return lm_eval_samples(own_tasks, names, model_folder=tiny_model)


def gate_score(metric: str, value: Any) -> float:
    """Return gate's score for a value that lm-eval logged."""
    if metric in ("word_perplexity", "bits_per_byte"):
        loglikelihood, units = value
        return float(loglikelihood / units)
    return -float(value) if metric == "edits" else float(value)


@pytest.mark.parametrize(("name", "settings", "metric"), CASES)
def test_prompts_and_scores_equal_lm_evals(
    own_tasks: Path,
    engine: Engine,
    logged: dict[str, list[dict[str, Any]]],
    name: str,
    settings: dict[str, Any],
    metric: str,
) -> None:
    task = gate_task(own_tasks, name, **settings)
    rows = gate_rows(task, engine)
    samples = [sample for sample in logged[name] if sample["filter"] == task.facets["filter"]]
    assert len(rows) == len(samples) > 0
    for row, sample in zip(rows, samples, strict=True):
        assert row["prompt_hash"] == sample["prompt_hash"]
        assert row["score"] == pytest.approx(gate_score(metric, sample[metric]), abs=1e-4)
        assert row["task"] == name
        if row["choice_logprobs"] is not None:
            values = [value[0] if isinstance(value, tuple) else value for value in sample["filtered_resps"]]
            assert row["choice_logprobs"] == pytest.approx(values[: len(row["choice_logprobs"])], abs=1e-3)
        elif isinstance(sample["filtered_resps"][0], str):
            assert row["output"] == sample["filtered_resps"][0]
    if metric in ("acc", "acc_norm", "acc_mutual_info") and name != "own_last_word":
        assert 0 < sum(row["score"] for row in rows) < len(rows)  # both right and wrong answers are tested


def test_binary_scores_set_correct_and_other_scores_do_not(own_tasks: Path, engine: Engine) -> None:
    rows = gate_rows(gate_task(own_tasks, "own_choice"), engine)
    assert all(row["correct"] == (row["score"] == 1.0) == (row["output"] == row["target"]) for row in rows)
    assert {row["correct"] for row in rows} == {True, False}
    perplexities = gate_rows(gate_task(own_tasks, "own_text"), engine)
    assert {row["correct"] for row in perplexities} == {None}
    assert all(row["score"] < 0 for row in perplexities)  # nats per word: larger is better
    negated = gate_rows(gate_task(own_tasks, "own_edits"), engine)
    assert all(row["score"] <= 0 for row in negated)


@pytest.mark.parametrize(
    ("shots", "chat"),
    [
        (1, True),
        (4, False),
        *(pytest.param(*case, marks=pytest.mark.exhaustive) for case in [(1, False), (4, True)]),
    ],
)
def test_few_shot_prompts_equal_lm_evals(
    own_tasks: Path, engine: Engine, tiny_model: Path, shots: int, chat: bool
) -> None:
    samples = lm_eval_samples(
        own_tasks,
        ["own_shots"],
        model_folder=tiny_model,
        num_fewshot=shots,
        apply_chat_template=chat,
        limit=6,
    )["own_shots"]
    task = gate_task(own_tasks, "own_shots", fewshot=shots, chat_template=chat, limit=6)
    rows = gate_rows(task, engine)
    assert [row["prompt_hash"] for row in rows] == [sample["prompt_hash"] for sample in samples]
    assert [row["score"] for row in rows] == [sample["acc"] for sample in samples]


def test_a_group_is_one_task_with_the_documents_of_all_subtasks(
    own_tasks: Path, engine: Engine, tiny_model: Path
) -> None:
    samples = lm_eval_samples(own_tasks, ["own_group"], model_folder=tiny_model)
    task = gate_task(own_tasks, "own_group")
    rows = gate_rows(task, engine)
    for subtask in ("own_subtask_a", "own_subtask_b"):
        scores = [row["score"] for row in rows if row["task"] == subtask]
        assert scores == [sample["acc"] for sample in samples[subtask]]
    assert len({row["item_id"] for row in rows}) == len(rows) == 13 + 14


def test_a_document_that_the_task_modifies_is_restored_for_the_next_model(own_tasks: Path, engine: Engine) -> None:
    task = gate_task(own_tasks, "own_edits")
    assert gate_rows(task, engine) == gate_rows(task, engine)


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


@pytest.fixture(scope="module")
def real_engine(smollm2: Path) -> Engine:
    return open_model(smollm2, dtype="float32")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "metric", "kind"),
    [
        pytest.param(*case, id=case[0], marks=[pytest.mark.exhaustive] if case[0] != "goal_inference" else [])
        for case in REAL
    ],
)
def test_a_real_model_gives_the_answers_that_lm_eval_logs(
    tmp_path: Path,
    smollm2: Path,
    real_engine: Engine,
    shared_data: Path,
    data: str,
    metric: str,
    kind: dict[str, Any],
) -> None:
    path = tmp_path / "items.jsonl"
    lines = (shared_data / "bigbench" / f"{data}.jsonl").read_text(encoding="utf-8").splitlines()[:8]
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
    samples = lm_eval_samples(tmp_path, ["real"], model_folder=smollm2)["real"]
    rows = gate_rows(gate_task(tmp_path, "real"), real_engine)
    assert [row["score"] for row in rows] == [sample[metric] for sample in samples]
    assert [row["prompt_hash"] for row in rows] == [sample["prompt_hash"] for sample in samples]
    if metric == "exact_match":
        assert [row["output"] for row in rows] == [sample["filtered_resps"][0] for sample in samples]
    else:
        for row, sample in zip(rows, samples, strict=True):
            assert row["choice_logprobs"] == pytest.approx([value[0] for value in sample["filtered_resps"]], abs=1e-3)


def test_the_fingerprint_does_not_depend_on_the_folder(tmp_path: Path, own_tasks: Path) -> None:
    copied = write_tasks(tmp_path / "copy")
    for name in ("own_choice", "own_shots", "own_edits", "own_group"):
        original, copy = gate_task(own_tasks, name), gate_task(copied, name)
        assert original.facets == copy.facets
        assert original.fingerprint == copy.fingerprint
