"""Real runs of LM Evaluation Harness: published counts, every logged score, and what a folder says about its model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.importing import message

from gate.importers import read_foreign
from gate.samples.record import ModelSamples

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "lm_eval"
TASKS = ("bb_goal_inference", "bb_social_iqa", "bb_step_inference")

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not beside this clone")


def rows_of(samples: ModelSamples, task: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = samples.tasks[task].table.to_pylist()
    return rows


@pytest.mark.parametrize(
    ("candidate", "metric", "counts"),
    [
        ("smollm2-135m-bf16-batch5", "acc", [(0, 0), (0, 0), (0, 0)]),
        ("smollm2-135m-bf16-batch5", "acc_norm", [(0, 1), (0, 0), (0, 0)]),
        ("smollm2-135m-bnb-int8", "acc", [(4, 5), (10, 3), (3, 2)]),
        ("smollm2-135m-bnb-int8", "acc_norm", [(5, 6), (8, 8), (10, 8)]),
    ],
)
def test_flips_of_real_runs_equal_the_published_counts(
    candidate: str, metric: str, counts: list[tuple[int, int]]
) -> None:
    a, b = (read_foreign(DATA / name, metric=metric) for name in ("smollm2-135m-bf16", candidate))
    flips = []
    for task in TASKS:
        base = {row["item_id"]: row for row in rows_of(a, task)}
        new = {row["item_id"]: row for row in rows_of(b, task)}
        assert base.keys() == new.keys()
        assert len(base) == 400
        assert all(base[key]["prompt_hash"] == new[key]["prompt_hash"] for key in base)
        assert a.tasks[task].facets == b.tasks[task].facets
        flips.append(
            (
                sum(base[key]["correct"] and not new[key]["correct"] for key in base),
                sum(new[key]["correct"] and not base[key]["correct"] for key in base),
            )
        )
    assert flips == counts


@pytest.mark.parametrize("metric", ["acc", "acc_norm"])
def test_the_picked_choice_agrees_with_every_logged_score(metric: str) -> None:
    samples = read_foreign(DATA / "smollm2-135m-bnb-int8", metric=metric)
    for task in TASKS:
        for row in rows_of(samples, task):
            assert (row["output"] == row["target"]) == row["correct"]
            assert len(row["choice_logprobs"]) == len(row["choices"])


def test_a_real_folder_gives_label_facets_model_and_default_metric() -> None:
    samples = read_foreign(DATA / "smollm2-135m-bf16")
    assert samples.label == "smollm2-135m-bf16"
    assert samples.tasks["bb_social_iqa"].metric == "acc"
    assert samples.notes == (
        f"{', '.join(TASKS)}: read the metric acc (also available: acc_norm; choose with --metric).",
    )
    assert samples.tasks["bb_social_iqa"].facets["num_fewshot"] == "0"
    assert samples.about["lm_eval_version"] == "0.4.13"
    assert samples.about["model_args"] == {"pretrained": "smollm2-fp32", "dtype": "bfloat16"}
    assert "subfolder" in message(DATA)
