"""The other way round: our engine as a model of lm-eval gives, request by request, what lm-eval's own `hf` gives."""

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


def compared(sample: dict[str, Any]) -> dict[str, Any]:
    """Return what does not depend on rounding in the 5th digit."""
    kept = {key: sample[key] for key in ("doc_id", "prompt_hash", "target", "filter", "metrics")}
    kept |= {
        key: sample[key] for key in ("acc", "acc_norm", "exact_match", "acc_mutual_info") if key in sample
    }
    return as_json(kept)


def numbers(value: Any) -> list[Any]:
    return [one for part in value for one in numbers(part)] if isinstance(value, list | tuple) else [value]


def test_every_request_is_answered_as_by_lm_evals_own_model(own_tasks: Path, tiny_model: Path) -> None:
    theirs = lm_eval_samples(own_tasks, NAMES, model_folder=tiny_model)
    ours = lm_eval_samples(own_tasks, NAMES, model="quantgate", model_folder=tiny_model)
    assert set(ours) == set(theirs)
    for name, samples in theirs.items():
        assert [compared(one) for one in ours[name]] == [compared(one) for one in samples]
        for one, other in zip(ours[name], samples, strict=True):
            answers, expected = numbers(one["resps"]), numbers(other["resps"])
            exact = [value for value in expected if isinstance(value, str | bool)]
            assert [value for value in answers if isinstance(value, str | bool)] == exact
            floats = [value for value in expected if not isinstance(value, str | bool)]
            assert [value for value in answers if not isinstance(value, str | bool)] == pytest.approx(
                floats, abs=1e-3
            )


@pytest.mark.parametrize("multiturn", [False, True])
def test_chats_are_rendered_as_by_lm_evals_own_model(
    own_tasks: Path, tiny_model: Path, multiturn: bool
) -> None:
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
    assert [compared(one) for one in ours] == [compared(one) for one in theirs]


def test_repeats_of_a_sampled_request_differ_and_come_again(own_tasks: Path, tiny_model: Path) -> None:
    model = QuantgateLM(str(tiny_model), device="cpu", dtype="float32", seed=4)
    runs = [lm_eval_samples(own_tasks, ["own_voted"], model=model)["own_voted"] for _ in range(2)]
    assert [one["resps"] for one in runs[0]] == [one["resps"] for one in runs[1]]
    assert any(len(set(one["resps"][0])) > 1 for one in runs[0])
    other = QuantgateLM(str(tiny_model), device="cpu", dtype="float32", seed=5)
    again = lm_eval_samples(own_tasks, ["own_voted"], model=other)["own_voted"]
    assert [one["resps"] for one in again] != [one["resps"] for one in runs[0]]


def test_an_argument_that_is_no_setting_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ValueError, match="max_batch_tokenz"):
        QuantgateLM(str(tiny_model), max_batch_tokenz=5)


@pytest.mark.slow  # the command reads all 14,000 files of the registry
def test_the_command_knows_our_model(own_tasks: Path, tiny_model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gate.engines.harness", "run", "--model", "quantgate", "--device", "cpu"]
    command += ["--model_args", f"pretrained={tiny_model},dtype=float32", "--tasks", "own_choice"]
    command += ["--include_path", str(own_tasks), "--output_path", str(tmp_path), "--batch_size", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (results,) = tmp_path.rglob("results_*.json")
    accuracy = json.loads(results.read_text(encoding="utf-8"))["results"]["own_choice"]["acc,none"]
    theirs = lm_eval_samples(own_tasks, ["own_choice"], model_folder=tiny_model)["own_choice"]
    assert accuracy == pytest.approx(sum(one["acc"] for one in theirs) / len(theirs))
