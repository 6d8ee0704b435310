"""What several rooms' tests write: a tiny real model made on the spot, a task of questions, a gate.yml."""

from __future__ import annotations

import json
from pathlib import Path

WORDS = (
    "the a cat dog bird fish red blue green big small runs sleeps eats sees is was one two three four five six "
    "yes no What Which colour animal number does it Q A : ? . , \n"
).split(" ")


def write_tiny_model(folder: Path, seed: int = 0, dtype: str = "float32", layers: int = 2) -> Path:
    """Write a random Llama with 2 layers, 32 dimensions and a byte-level BPE tokenizer of 384 tokens; 200 kB."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 20, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.chat_template = (
        "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=384,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(config).to(getattr(torch, dtype))
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def write_tiny_task(path: Path, count: int = 24) -> Path:
    """Write `count` three-way multiple-choice questions as JSONL."""
    animals = ["cat", "dog", "bird", "fish"]
    rows = [
        {
            "id": number,
            "question": f"Which animal is number {number}?",
            "choices": [animals[number % 4], animals[(number + 1) % 4], f"big {animals[(number + 2) % 4]}"],
            "gold": number % 3,
        }
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_gate_yml(folder: Path, baseline: str, candidate: str, **sections: object) -> Path:
    """Write a gate.yml over `items.jsonl` in the folder; keyword arguments replace or add sections."""
    import yaml

    config: dict[str, object] = {
        "version": 1,
        "baseline": {"model": baseline},
        "candidate": {"model": candidate},
        "engine": {"device": "cpu"},
        "tasks": [
            {
                "name": "animals",
                "file": "items.jsonl",
                "prompt": "Q: {{ question }}\nA:",
                "choices": "{{ choices }}",
                "answer": "{{ gold }}",
            }
        ],
        **sections,
    }
    path = folder / "gate.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path
