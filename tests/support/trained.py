"""A tiny trained model: random weights would generate invalid UTF-8."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from support.tiny import WORDS, write_tiny_model


def write_trained_model(folder: Path, seed: int = 0) -> Path:
    """Write the tiny model after 60 training steps on random sequences of its words; takes about 3 s."""
    write_tiny_model(folder, seed)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    generator = random.Random(seed)
    words = [word for word in WORDS if word.isalpha()]
    torch.manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        texts = [" " + " ".join(generator.choices(words, k=24)) for _ in range(8)]
        ids = torch.tensor([tokenizer(text)["input_ids"][:24] for text in texts])
        loss = model(ids, labels=ids).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.save_pretrained(folder)
    return folder
