"""The transformers engine. Its modules import torch, this file does not: only `gate.engines.open_engine` needs them."""

SCORING = "packed-1"
"""How this version computes log-likelihoods; part of a model's identity, because packing reaches the last bits."""
