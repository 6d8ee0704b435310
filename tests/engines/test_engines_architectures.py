"""Every causal architecture of transformers: scores and texts are those of plain forward passes, or it is refused.

benchmarks/architectures.py writes the table.
"""

from __future__ import annotations

import pytest
from support.every_architecture import Outcome, half_precision_differences, names, verify

FAST = ("deepseek_v2", "gpt_oss", "qwen3_next")
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
