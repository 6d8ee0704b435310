"""A tiny real model, a small multiple-choice task and a gate.yml, each written by a function."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.jsonl import read_jsonl, write_jsonl

if TYPE_CHECKING:
    import pyarrow as pa

WORDS = (
    "the a cat dog bird fish red blue green big small runs sleeps eats sees is was one two three four five six "
    "yes no What Which colour animal number does it Q A : ? . , \n"
).split(" ")

TINY_TASK = {
    "name": "animals",
    "chance": 0.0,  # a model with random weights guesses: its verdicts would all be INCONCLUSIVE
    "file": "items.jsonl",
    "prompt": "Q: {{ question }}\nA:",
    "choices": "{{ choices }}",
    "answer": "{{ gold }}",
}
"""The settings in gate.yml of the task that `write_tiny_task` writes."""

TINY_TEXT_TASK = {
    "name": "texts",
    "file": "letters.jsonl",
    "kind": "generate_until",
    "prompt": "{{ question }}",
    "answer": "{{ letter }}",
    "max_tokens": 2,
    "extract": "([a-z ])",
}
"""The settings of a task whose target is one letter, which a random model writes sometimes."""


def write_tiny_model(folder: Path, seed: int = 0, dtype: str = "float32", layers: int = 2, width: int = 32) -> Path:
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
        hidden_size=width,
        intermediate_size=2 * width,
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
    """Write `count` multiple-choice items with three choices each as JSONL."""
    animals = ["cat", "dog", "bird", "fish"]
    return write_jsonl(
        path,
        (
            {
                "id": number,
                "question": f"Which animal is number {number}?",
                "choices": [
                    animals[number % 4],
                    animals[(number + 1) % 4],
                    f"big {animals[(number + 2) % 4]}",
                ],
                "gold": number % 3,
            }
            for number in range(count)
        ),
    )


def write_tiny_text_task(folder: Path, count: int) -> dict[str, Any]:
    """Write `count` items of `TINY_TEXT_TASK` into a folder, and return the settings of the task."""
    rows = read_jsonl(write_tiny_task(folder / "letters.jsonl", count))
    write_jsonl(folder / "letters.jsonl", ({**row, "letter": "a"} for row in rows))
    return dict(TINY_TEXT_TASK)


def use_outputs_as_targets(path: Path, samples: pa.Table) -> None:
    """Replace the targets of the tiny task by the outputs of a model, which then has every item correct."""
    outputs = dict(zip(samples["prompt"].to_pylist(), samples["output"].to_pylist(), strict=True))
    rows = read_jsonl(path)
    write_jsonl(path, ({**row, "gold": int(outputs[f"Q: {row['question']}\nA:"])} for row in rows))


def write_gate_yml(folder: Path, baseline: str, candidate: str, **sections: object) -> Path:
    """Write a gate.yml over `items.jsonl` in the folder; keyword arguments replace or add sections."""
    import yaml

    config: dict[str, object] = {
        "version": 1,
        "baseline": {"model": baseline},
        "candidate": {"model": candidate},
        "engine": {"device": "cpu"},
        "tasks": [TINY_TASK],
        **sections,
    }
    path = folder / "gate.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def edit_gate_yml(folder: Path, **sections: object) -> None:
    """Replace or add sections of the folder's gate.yml."""
    import yaml

    path = folder / "gate.yml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text(encoding="utf-8")), **sections}))


def write_tiny_project(folder: Path, baseline: Path, candidate: Path, **sections: object) -> Path:
    """Write copies `base` and `other` of two models, the 24 items of the tiny task and a gate.yml."""
    shutil.copytree(baseline, folder / "base")
    shutil.copytree(candidate, folder / "other")
    write_tiny_task(folder / "items.jsonl")
    write_gate_yml(folder, "base", "other", **sections)
    return folder
