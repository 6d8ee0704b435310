"""What is read from a model's configuration, and how probes compare logits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.architectures import PACKED, PLAIN, build

from gate.engines.hf.model.capabilities import logit_distances, read_capabilities, tolerance
from gate.engines.hf.scoring.method import choose_method

LLAMA = PACKED["llama"]
LLAMA4 = LLAMA | {"attention_chunk_size": 128, "floor_scale": 64, "num_local_experts": 2, "intermediate_size_mlp": 64}
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}


@pytest.mark.parametrize(
    ("name", "settings", "window"),
    [
        ("llama", LLAMA, None),
        ("mistral", PACKED["mistral"], 128),
        ("gemma3_text", PACKED["gemma3_text"], 200),
        ("llama4_text", LLAMA4, 63),
        ("qwen2", PACKED["qwen2"], None),  # has a window and does not use it
        ("llama", LLAMA | {"rope_parameters": DYNAMIC}, 256),  # the model's maximum, where the scaling starts
        ("llama", LLAMA | {"rope_parameters": DYNAMIC | {"original_max_position_embeddings": 40}}, 40),
    ],
)
def test_the_window_is_the_length_up_to_which_attention_and_positions_are_those_of_any_shorter_input(
    tiny_model: Path, name: str, settings: dict[str, Any], window: int | None
) -> None:
    assert build(name, settings, tiny_model).capabilities.window == window


@pytest.mark.parametrize(
    ("name", "reason"), [("mamba", "recurrent"), ("bloom", "ALiBi"), ("qwen3_next", "linear_attention")]
)
def test_the_configuration_rules_out_recurrent_and_alibi_models(tiny_model: Path, name: str, reason: str) -> None:
    assert reason in build(name, PLAIN[name][0], tiny_model).capabilities.obstacle


@pytest.mark.parametrize(("name", "layers"), [("llama", 2), ("mistral", 2), ("qwen3_next", 0)])
def test_cache_layers_are_counted_if_all_hold_plain_keys_and_values(tiny_model: Path, name: str, layers: int) -> None:
    settings = PACKED[name] if name in PACKED else PLAIN[name][0]
    assert read_capabilities(build(name, settings, tiny_model).model).cache_layers == layers


def test_rounding_in_float64_is_not_taken_for_wrong_logits(tiny_model: Path) -> None:
    # rotary embeddings are computed in float32 whatever the model's number format
    loaded = build("llama", LLAMA, tiny_model, dtype=torch.float64, attn_implementation="eager")
    assert choose_method(loaded).packed


def test_the_distance_ignores_constant_offsets_and_masked_tokens_and_is_infinite_for_nan() -> None:
    reference = torch.randn(3, 100, generator=torch.Generator().manual_seed(0))
    reference[:, 90:] = -torch.inf  # tokens that the model never generates
    logits = reference + torch.tensor([[0.0], [5.0], [0.0]])
    logits[2, 0] = torch.nan
    distances = logit_distances(logits, reference).tolist()
    assert distances[0] == 0.0
    assert distances[1] == pytest.approx(0.0, abs=1e-5)
    assert distances[2] == math.inf
    swapped = reference.roll(1, dims=1)
    assert bool((logit_distances(swapped, reference) > tolerance(torch.bfloat16)).all())
