"""A candidate that computes the same function as its baseline from other weight files."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch


def permute_channels(folder: Path, target: Path, noise: float = 0.0, seed: int = 0) -> Path:
    """Write a copy of a Llama in which the hidden channels of each MLP are in another order.

    The function is the same; only the order of sums changes, and with it the rounding. `noise` adds Gaussian noise, of
    this size relative to the weights of the MLPs, which makes a worse model.
    """
    from safetensors.torch import load_file, save_file

    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(folder, target)
    weights = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(seed)
    for name in [name for name in weights if name.endswith("mlp.gate_proj.weight")]:
        prefix = name.removesuffix("gate_proj.weight")
        order = torch.randperm(weights[name].shape[0], generator=generator)
        for part in ("gate_proj", "up_proj"):
            weights[f"{prefix}{part}.weight"] = weights[f"{prefix}{part}.weight"][order].contiguous()
        weights[f"{prefix}down_proj.weight"] = weights[f"{prefix}down_proj.weight"][:, order].contiguous()
        for part in ("gate_proj", "up_proj", "down_proj"):
            matrix = weights[f"{prefix}{part}.weight"]
            change = torch.randn(matrix.shape, generator=generator) * noise * matrix.float().std()
            weights[f"{prefix}{part}.weight"] = (matrix.float() + change).to(matrix.dtype)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target
