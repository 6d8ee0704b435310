"""The engine as a model of lm-eval: its answers equal those of lm-eval's own model `hf`, request by request."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.harness_tasks import write_tasks
from support.runs import as_json, lm_eval_samples

QuantgateLM = pytest.importorskip("gate.engines.harness").QuantgateLM

NAMES = [
    "own_choice",
    "own_shots",
    "own_mutual",
    "own_blank",
    "own_last_word",
    "own_text",
    "own_written",
    "own_group",
]


@pytest.fixture(scope="module")
def own_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


def exact_part(sample: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of a sample that do not depend on rounding."""
    kept = {key: sample[key] for key in ("doc_id", "prompt_hash", "target", "filter", "metrics")}
    kept |= {key: sample[key] for key in ("acc", "acc_norm", "exact_match", "acc_mutual_info") if key in sample}
    return as_json(kept)


def flatten(value: Any) -> list[Any]:
    return [leaf for element in value for leaf in flatten(element)] if isinstance(value, list | tuple) else [value]


def test_answers_equal_those_of_lm_evals_own_model(own_tasks: Path, tiny_model: Path) -> None:
    theirs = lm_eval_samples(own_tasks, NAMES, model_folder=tiny_model)
    ours = lm_eval_samples(own_tasks, NAMES, model="quantgate", model_folder=tiny_model)
    assert set(ours) == set(theirs)
    for name, samples in theirs.items():
        assert list(map(exact_part, ours[name])) == list(map(exact_part, samples))
        for sample, reference in zip(ours[name], samples, strict=True):
            answers, expected = flatten(sample["resps"]), flatten(reference["resps"])
            exact = [value for value in expected if isinstance(value, str | bool)]
            assert [value for value in answers if isinstance(value, str | bool)] == exact
            floats = [value for value in expected if not isinstance(value, str | bool)]
            assert [value for value in answers if not isinstance(value, str | bool)] == pytest.approx(floats, abs=1e-3)


@pytest.mark.parametrize("multiturn", [pytest.param(False, marks=pytest.mark.exhaustive), True])
def test_chats_are_rendered_like_lm_evals_own_model(own_tasks: Path, tiny_model: Path, multiturn: bool) -> None:
    arguments: dict[str, Any] = {
        "apply_chat_template": True,
        "fewshot_as_multiturn": multiturn,
        "system_instruction": "Be short.",
        "limit": 4,
    }
    theirs = lm_eval_samples(own_tasks, ["own_shots"], model_folder=tiny_model, **arguments)["own_shots"]
    ours = lm_eval_samples(own_tasks, ["own_shots"], model="quantgate", model_folder=tiny_model, **arguments)[
        "own_shots"
    ]
    assert list(map(exact_part, ours)) == list(map(exact_part, theirs))


def test_repeats_of_a_sampled_request_differ_and_are_reproducible(own_tasks: Path, tiny_model: Path) -> None:
    model = QuantgateLM(str(tiny_model), device="cpu", dtype="float32", seed=4)
    runs = [lm_eval_samples(own_tasks, ["own_voted"], model=model)["own_voted"] for _ in range(2)]
    assert [sample["resps"] for sample in runs[0]] == [sample["resps"] for sample in runs[1]]
    assert any(len(set(sample["resps"][0])) > 1 for sample in runs[0])
    other = QuantgateLM(str(tiny_model), device="cpu", dtype="float32", seed=5)
    again = lm_eval_samples(own_tasks, ["own_voted"], model=other)["own_voted"]
    assert [sample["resps"] for sample in again] != [sample["resps"] for sample in runs[0]]


def test_an_unknown_argument_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ValueError, match="max_batch_tokenz"):
        QuantgateLM(str(tiny_model), max_batch_tokenz=5)


@pytest.mark.exhaustive  # the command reads all 14,000 files of the registry
def test_the_command_line_has_the_model(own_tasks: Path, tiny_model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gate.engines.harness", "run", "--model", "quantgate", "--device", "cpu"]
    command += ["--model_args", f"pretrained={tiny_model},dtype=float32", "--tasks", "own_choice"]
    command += ["--include_path", str(own_tasks), "--output_path", str(tmp_path), "--batch_size", "4"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-2000:]
    (results,) = tmp_path.rglob("results_*.json")
    accuracy = json.loads(results.read_text(encoding="utf-8"))["results"]["own_choice"]["acc,none"]
    theirs = lm_eval_samples(own_tasks, ["own_choice"], model_folder=tiny_model)["own_choice"]
    assert accuracy == pytest.approx(sum(sample["acc"] for sample in theirs) / len(theirs))
