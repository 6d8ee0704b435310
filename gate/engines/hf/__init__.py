"""The transformers engine. Its modules import torch; this file does not."""

SCORING = "packed-1"
"""Version of how log-likelihoods are computed. Part of a model's identity, because packing changes the last bits."""
