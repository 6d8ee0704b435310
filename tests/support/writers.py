"""Models for every way of generation, and requests for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from gate.engines import Engine
from gate.tasks.requests import GenerateRequest
from support.opened import silent

SHORT_PREFIX = "Q : What is big ?\nA : the dog\nQ : What runs ?\nA : a cat\n" * 2
PROMPTS = ["the cat", SHORT_PREFIX + "Q : the fish ?\nA :", SHORT_PREFIX + "Q : red or green ?\nA :", "a", "", "日本 🐈", "yes",
           SHORT_PREFIX + "Q : What colour is the bird ?\nA :", "big big big big dog", SHORT_PREFIX + "Q : a", "one two three", "a"]  # fmt: skip
LIMITS = [12, 3, 20, 8, 16, 1, 10, 24, 5, 14, 30, 18]
REQUESTS = [
    GenerateRequest(prompt, ("e",) if number % 4 == 0 else (), limit)
    for number, (prompt, limit) in enumerate(zip(PROMPTS, LIMITS, strict=True))
]

SIZES = {
    "vocab_size": 384, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "bos_token_id": 0, "eos_token_id": [1, 17, 44],
    "pad_token_id": 1, "initializer_range": 0.3,
}  # fmt: skip
OLD_SIZES = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
PAGED: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama, eager": ("Llama", {"attn_implementation": "eager"}),
    "gpt2, learned positions": ("GPT2", OLD_SIZES),
    "opt, shifted positions": ("OPT", {"ffn_dim": 64, "word_embed_proj_dim": 32}),
    "gemma2, soft caps": ("Gemma2", {"head_dim": 8, "sliding_window": 250}),
    "gpt-oss, sinks and experts": ("GptOss", {"head_dim": 8, "sliding_window": 250, "num_local_experts": 4}),
    "qwen3": ("Qwen3", {"head_dim": 8}),
    "falcon, parallel layers": ("Falcon", {}),
}
STATIC: dict[str, tuple[str, dict[str, Any]]] = {
    "bloom, alibi": ("Bloom", {"n_layer": 2, "n_head": 4}),
    "falcon, alibi": ("Falcon", {"alibi": True}),
    "mamba, recurrent": ("Mamba", {"state_size": 4}),
    "lfm2, convolutions": (
        "Lfm2",
        {"num_hidden_layers": 4, "layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    ),
    "rwkv, recurrent, no mask": ("Rwkv", {}),
    "bart, learned positions": ("Bart", {"d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4}),
}


def write_model(tokenizer_from: Path, folder: Path, architecture: str, options: dict[str, Any]) -> Path:
    """Write a tiny random model of an architecture, with the tokenizer from `tokenizer_from`."""
    import transformers

    options = dict(options)
    attention = {key: options.pop(key) for key in ("attn_implementation",) if key in options}
    torch.manual_seed(0)
    config = getattr(transformers, f"{architecture}Config")(**{**SIZES, **options})
    transformers.AutoModelForCausalLM.from_config(config, **attention).float().save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(tokenizer_from).save_pretrained(folder)
    return folder


def greedy_text(engine: Any, request: GenerateRequest) -> str:
    """Return the greedy text by definition: forward passes over the whole sequence, without a cache."""
    loaded = engine._loaded
    ids = loaded.tokenizer(request.context).input_ids or [0]
    generated: list[int] = []
    while len(generated) < request.max_tokens:
        with torch.no_grad():
            logits = loaded.model(torch.tensor([ids + generated]), use_cache=False).logits
        best = int(logits[0, -1].argmax())
        if best in loaded.end_tokens:
            break
        generated.append(best)
        text = str(loaded.tokenizer.decode(generated, skip_special_tokens=True))
        if any(stop in text for stop in request.stop):
            return text[: min(text.index(stop) for stop in request.stop if stop in text)]
    return str(loaded.tokenizer.decode(generated, skip_special_tokens=True))


def generated_texts(engine: Engine, requests: list[GenerateRequest] | None = None) -> list[str]:
    return [answer.text for answer in engine.generate_until(requests or REQUESTS, silent)]


def write_paged(tokenizer_from: Path, folder: Path, name: str) -> tuple[Path, dict[str, Any]]:
    """Write one of `PAGED`; return its folder and its engine settings."""
    architecture, options = PAGED[name]
    attention = {key: options[key] for key in ("attn_implementation",) if key in options}
    return write_model(tokenizer_from, folder, architecture, options), attention


LONG_PREFIX = "Q : What is big ?\nA : the dog\n" * 13
WORDS = ["a", "the cat", "red", "green ?", "big dog", "one", "fish", "bird", "runs", "two"]
LONG_PREFIX_REQUESTS = [
    GenerateRequest(
        f"{LONG_PREFIX if number % 5 else SHORT_PREFIX}Q : {words}", ("e",) if number % 3 == 0 else (), limit
    )
    for number, (words, limit) in enumerate(
        zip(
            ["a", "the cat", "red", "", "green ?", "big big", "one", "fish", "bird ?\nA :", "a"],
            LIMITS,
            strict=False,
        )
    )
]
