"""Every causal architecture of transformers: scores and texts are those of plain forward passes, or it is refused.

benchmarks/architectures.py writes the table.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.every_architecture import Outcome, half_precision_differences, names, small_model, verify
from support.opened import open_model, silent
from support.tiny import write_tiny_model

from gate.errors import EvaluationError
from gate.tasks.requests import GenerateRequest

FAST = ("deepseek_v2", "gpt_oss", "minimax_m3_vl_text", "qwen3_next")
# transformers' own forward pass depends on the length of the row there
ILL_DEFINED = ("doge",)


def check(outcome: Outcome) -> None:
    assert outcome.kind not in ("wrong", "fails"), outcome.line


@pytest.mark.parametrize("name", FAST)
def test_scores_and_texts_are_those_of_plain_forward_passes(name: str) -> None:
    outcome = verify(name)
    assert outcome.kind in ("ok", "falls back"), outcome.line


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", sorted(set(names()) - set(FAST) - set(ILL_DEFINED)))
def test_no_architecture_gives_wrong_numbers(name: str) -> None:
    check(verify(name))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["llama", "gemma2", "qwen3_moe", "deepseek_v3", "mamba"])
def test_in_bfloat16_scores_differ_by_no_more_than_rounding(name: str) -> None:
    ours, rounding = half_precision_differences(name)
    assert ours < 2 * rounding


def test_a_model_that_transformers_cannot_generate_with_is_a_clear_error(tmp_path: Path) -> None:
    small_model("blt").save_pretrained(write_tiny_model(tmp_path))  # transformers makes no cache from its configuration
    engine = open_model(tmp_path)
    with pytest.raises(EvaluationError, match="cannot generate text with BltForCausalLM: AttributeError") as caught:
        engine.generate_until([GenerateRequest("What is this ?", (), 2)], silent)
    assert "multiple-choice" in str(caught.value.hint)
