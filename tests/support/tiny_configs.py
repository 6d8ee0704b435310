"""Tiny configurations of every causal architecture of transformers, made by shrinking the defaults."""

from __future__ import annotations

import re
from typing import Any

LENGTH = 80
"""Tokens to which every window, chunk and other length threshold is shrunk."""

# by name of the key; the first that matches
_SIZES: tuple[tuple[str, int], ...] = (
    (r"vocab_size|vocab_size_per_layer_input|encoder_hash_byte_group_vocab", 384),
    (
        r"(max|original_max|max_target|max_source)_positions?_?(embeddings)?|n_positions|n_ctx|max_seq_len|context_length"
        r"|model_max_length",
        512,
    ),
    (r"num_hidden_layers|n_layers?|num_layers|(num_)?(decoder|encoder)_layers|num_blocks|num_layers_per_stack", 2),
    (
        r"(num|n|encoder|decoder|num_encoder|num_decoder)_?(attention_)?heads?|attention_heads|swa_num_attention_heads"
        r"|linear_num_heads",
        4,
    ),
    (r"num_(key_value|kv)_heads|swa_num_key_value_heads|num_query_groups", 2),
    (
        r"hidden_size|d_model|n_embd|embedding_size|embedding_dim|emb_dim|word_embed_proj_dim|lru_width|dim_model_base"
        r"|(input|output)_embedding_size|attention_hidden_size|d_inner|hidden_size_global"
        r"|adapter_in_dim|adapter_input_size|adapter_out_dim",
        32,
    ),
    (
        r".*intermediate_size|.*ffn_dim|ffn_hidden_size|dff|dim_ff|intermediate_size_mlp|feed_forward_size"
        r"|expert_ffn_hidden_size",
        64,
    ),
    (
        r"head_dim|d_head|dim_head|swa_head_dim|attention_head_size|kv_channels|v_head_dim|qk_nope_head_dim"
        r"|qk_rope_head_dim|rotary_dim|index_head_dim|linear_(key_|value_)?head_dim",
        8,
    ),
    (r"attention_head_dim", 8),
    (r"qk_head_dim", 16),
    (r".*lora_rank|laurel_rank|hc_lowrank|gated_norm_rank|adapter_rank", 16),
    (r"n_routed_experts|(moe_)?num_(local_)?experts", 4),
    (r"num_experts_per_tok(en)?|moe_k|moe_topk|top_k_experts", 2),
    (r"n_group|num_expert_group|topk_group|n_shared_experts|num_shared_experts|moe_num_shared_experts", 1),
    (r"zero_expert_num", 2),
    (r"first_k_dense_replace|num_dense_layers|moe_layer_start_index|max_window_layers", 1),
    (r"linear_num_(key|value)_heads", 2),
    # with few heads, scores of the indexer are often zero, and which of equal ones are chosen depends on the length
    (r"index_n_heads|indexer_n_heads", 16),
    (r"(mamba_)?(d_)?(ssm_)?state(_size)?|mamba_d_state|ssm_state_size", 8),
    (r"mamba_n_heads|mamba_num_heads|n_mamba_heads", 4),
    (r"mamba_d_head|mamba_head_dim|mamba_headdim", 16),
    (r"mamba_d_ssm", 64),
    (r"n_groups|o_groups", 2),
    (r"mamba_dt_rank|time_step_rank", 4),
    (r"hidden_size_per_layer_input", 8),
    (r"num_kv_shared_layers", 0),
    (r"attn_layer_offset|expert_layer_offset", 1),
    (
        r"attn_layer_period|expert_layer_period|_?sliding_window_pattern|no_rope_layer_interval|layer_group_size"
        r"|global_attn_every_n_layers|interleave_moe_layer_step|n_layers_per_attn_res_block",
        2,
    ),
    (r"index_topk", LENGTH),
    (r"index_block_size", 16),
    (r"index_topk_blocks", 5),
    (
        r".*window.*(?<!layers)(?<!pattern)|local_attention|attention_chunk_size|floor_scale|log_scaling_n_floor"
        r"|rel_extent|position_bias_max_distance|relative_max_distance",
        LENGTH,
    ),
    (r".*chunk_?(size|length)|block_size|block_multiple_of", 16),
    (r"ngram_vocab_size_base", 64),
    (r"split_ngram_parts", 4),
    (r"ple_embed_dim", 16),
    (r"(pronunciation|shape)_vocab_size", 50),
    (r"(pronunciation|shape)_embed_dim", 16),
    (r"router_hidden_size", 16),
    (r"shared_experts?_intermediate_size", 64),
    (r"pad_token_id|eos_token_id", 1),
    (r"bos_token_id", 0),
    (r".*_token_(id|index)|.*_(id|index)", 383),
)
# what is needed beside the general rules
_NO_DEFAULT = {"head_dim": 8}
_QWEN4 = {
    "indexer_n_heads": 16,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
    "indexer_budget": LENGTH,
    "indexer_compress_ratio": 4,
    "output_gate_type": "sigmoid",
}
_COMPASS = {kind: {"rope_theta": 10000.0, "rope_type": "default"} for kind in ("full_attention", "sliding_attention")}
_SPECIAL: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1]},
    "cohere_compass_text": {"rope_parameters": _COMPASS, "sliding_window": LENGTH},
    "dbrx": {"attn_config": {"rope_theta": 10000.0, "kv_n_heads": 2, "clip_qkv": 8.0}},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots1": {"n_shared_experts": 1, "n_routed_experts": 4, "num_experts_per_tok": 2},
    "dots3_note": {"text_config": {"per_layer_config": None, "head_dim": 16}},
    "dots3_note_text": {"per_layer_config": None, "head_dim": 16},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "attention_layers": ["global", "local"]},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"]},
    "hrm_text": {"num_hidden_layers": 16},
    "hunyuan_v1_dense": _NO_DEFAULT,
    "hunyuan_v1_moe": _NO_DEFAULT,
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "marian": {"decoder_vocab_size": 384},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "minimax_m3_vl_text": {"layer_types": ["full_attention", "minimax_m3_sparse"], "index_n_heads": 2},
    "ministral": _NO_DEFAULT,
    "nemotron": {"num_key_value_heads": 2},
    "qwen4_exp": {"text_config": _QWEN4},
    "qwen4_exp_text": _QWEN4,
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {"is_decoder": True, "axial_pos_embds": False, "num_buckets": 4},
    "xlstm": {"hidden_size": 128, "embedding_dim": 128},  # rounded up to multiples of 64 within
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
    },
    "zamba2": {"attention_hidden_size": 64, "attention_head_dim": 16, "mamba_headdim": 16, "n_mamba_heads": 4},
    "zaya": {"num_experts_per_tok": 1},
}
_META = {"model_type", "transformers_version", "architectures", "id2label", "label2id", "dtype", "problem_type"}


def small_config(name: str) -> Any:
    """Return the tiny configuration of an architecture."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = CONFIG_MAPPING[name]
    return kind(**_shrink(kind, _SPECIAL.get(name, {})))


def _shrink(kind: Any, special: dict[str, Any]) -> dict[str, Any]:
    try:
        default = kind()
    except Exception:  # some defaults contradict each other
        return dict(special)
    from transformers import PreTrainedConfig

    values = {key: value for key, value in vars(default).items() if not key.startswith("_") and key not in _META}
    per_layer = _per_layer(values)
    layers = _chosen(per_layer)
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, PreTrainedConfig):
            result[key] = _shrink(type(value), special.get(key, {}))
        elif key in per_layer:
            picked = [value[layer] for layer in layers]
            result[key] = [_size(key, item) for item in picked] if type(value[0]) is int else picked
        elif key == "use_sliding_window":
            result[key] = value
        elif type(value) is int:
            result[key] = _size(key, value)
        elif key == "eos_token_id" and isinstance(value, list):
            result[key] = 1
        elif key == "rope_parameters" and isinstance(value, dict):
            result[key] = _short_rope(value)
    if per_layer:
        result["num_hidden_layers"] = len(layers)
    if "kv_lora_rank" in result:  # multi-head latent attention has no groups of heads
        result["num_key_value_heads"] = result["num_attention_heads"]
    if result.pop("use_sliding_window", None) is not None:  # off by default
        result |= {"use_sliding_window": True, "sliding_window": LENGTH}
        result.pop("layer_types", None)
    return result | {key: value for key, value in special.items() if not isinstance(values.get(key), PreTrainedConfig)}


def _size(key: str, value: int) -> int:
    for pattern, size in _SIZES:
        if re.fullmatch(pattern, key):
            return size if value or size in (0, 1) else value
    return value


def _per_layer(values: dict[str, Any]) -> dict[str, list[Any]]:
    depth = values.get("num_hidden_layers")
    return {key: value for key, value in values.items() if isinstance(value, list) and value and len(value) == depth}


def _chosen(per_layer: dict[str, list[Any]]) -> list[int]:
    """Return layers of the default in which every kind of layer occurs; at least two."""
    seen: set[tuple[str, str]] = set()
    chosen = []
    for layer in range(len(next(iter(per_layer.values()), []))):
        kinds = {(key, str(values[layer])) for key, values in per_layer.items() if not isinstance(values[0], float)}
        if kinds - seen or len(chosen) < 2:
            chosen.append(layer)
        seen |= kinds
    return chosen


def _short_rope(value: dict[str, Any]) -> dict[str, Any]:
    """Shrink the lengths of rotary embeddings, also where there is one per kind of layer."""
    return {
        key: _short_rope(entry)
        if isinstance(entry, dict)
        else LENGTH
        if key == "original_max_position_embeddings" and entry
        else entry
        for key, entry in value.items()
    }
