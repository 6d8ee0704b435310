"""Tiny random models of many architectures, with the tokenizer of the tiny model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from gate.engines.hf.model.load import LoadedModel

_COMMON = {
    "vocab_size": 384,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
    "initializer_range": 0.3,
}
_GPT2 = {
    "vocab_size": 384,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 256,
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 1,
}

PACKED: dict[str, dict[str, Any]] = {
    "llama": _COMMON,
    "gpt2": _GPT2,
    "gpt_neox": _COMMON,
    "qwen2": _COMMON | {"use_sliding_window": False, "sliding_window": 32},
    "qwen3": _COMMON,
    "phi3": _COMMON | {"sliding_window": None, "resid_pdrop": 0.0},
    "gemma2": _COMMON | {"sliding_window": 4096, "query_pre_attn_scalar": 8, "final_logit_softcapping": 5.0},
    "gemma3_text": _COMMON | {"sliding_window": 200},
    "cohere": _COMMON | {"logit_scale": 0.25},
    "granite": _COMMON | {"logits_scaling": 3.0},
    "mistral": _COMMON | {"sliding_window": 128},
    "opt": _COMMON | {"ffn_dim": 64, "word_embed_proj_dim": 32, "dropout": 0.0, "init_std": 0.3},
    "mixtral": _COMMON | {"num_local_experts": 4},
}
"""Architectures whose choices are packed, with settings that break a wrong implementation."""

PLAIN: dict[str, tuple[dict[str, Any], str]] = {
    "mamba": (_COMMON | {"state_size": 8}, "recurrent"),
    "bloom": (
        {"vocab_size": 384, "hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.3},
        "ALiBi",
    ),
    "mpt": ({"vocab_size": 384, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 256}, "ALiBi"),
    "gemma2": (_COMMON | {"sliding_window": 8, "query_pre_attn_scalar": 8}, "sliding window of 8"),
    "mistral": (_COMMON | {"sliding_window": 6}, "sliding window of 6"),
    "qwen3_next": (
        _COMMON
        | {
            "num_experts": 2,
            "num_experts_per_tok": 1,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 16,
            "layer_types": ["linear_attention", "full_attention"],
            "linear_num_value_heads": 2,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
        },
        "linear_attention",
    ),
    "bart": (
        {
            "vocab_size": 384,
            "d_model": 32,
            "decoder_layers": 2,
            "decoder_attention_heads": 4,
            "decoder_ffn_dim": 64,
            "is_decoder": True,
            "max_position_embeddings": 256,
            "init_std": 0.3,
        },
        "differ from plain rows",
    ),
}
"""Architectures that are scored in plain rows, and a part of the reason."""


def build(name: str, settings: dict[str, Any], folder: Path, seed: int = 0, **options: Any) -> LoadedModel:
    """Build a random model with the tokenizer in `folder`."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **settings), **options)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.eos_token
    return LoadedModel(model.eval(), tokenizer, torch.device("cpu"), "", (1,))
