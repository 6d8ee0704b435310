"""The next token of each row: the likeliest, or one drawn at a temperature with noise of the row's own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from gate.errors import EvaluationError

_GOLDEN = 0x9E3779B97F4A7C15
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_WORD = 1 << 64
_ROWS_AT_ONCE = 64  # rows of noise that are held at a time, in float64


def key_of(seed: int, prompt: Sequence[int]) -> int:
    """Return the 64-bit key of a request's draws.

    The prompt is part of it: items must not share their noise. The model is not: two models that are asked the same
    draw with common random numbers, so that equal distributions give equal answers.
    """
    text = ",".join(map(str, (seed, *prompt)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def choose(
    scores: torch.Tensor, temperatures: Sequence[float], keys: Sequence[int], steps: Sequence[int]
) -> list[int]:
    """Return the next token of each row.

    A draw adds Gumbel noise to the log-probabilities at the temperature and takes the largest, which has exactly their
    distribution (Gumbel-max trick). The noise is a function of key, step and token only.

    Parameters
    ----------
    scores : float32 tensor of shape (rows, vocabulary)
        Logits.
    temperatures : sequence of float
        0 is greedy.
    keys, steps : sequences of int
        Of each row: its key and how many tokens it has made.

    Raises
    ------
    EvaluationError
        A logit is NaN: the largest of them would be token 0, a wrong answer that looks like one.
    """
    best = scores.argmax(dim=1)
    drawn = [row for row, temperature in enumerate(temperatures) if temperature > 0]
    for start in range(0, len(drawn), _ROWS_AT_ONCE):
        rows = drawn[start : start + _ROWS_AT_ONCE]
        place = torch.tensor(rows, device=scores.device)
        heat = torch.tensor([temperatures[row] for row in rows], dtype=torch.float64, device=scores.device)
        noise = gumbel(
            [keys[row] for row in rows], [steps[row] for row in rows], scores.shape[1], scores.device
        )
        best[place] = (scores[place].double() / heat[:, None] + noise).argmax(dim=1)
    # one transfer for both: a NaN row is marked by a token that does not exist
    tokens: list[int] = best.masked_fill(scores.isnan().any(dim=1), -1).tolist()
    if -1 in tokens:
        raise EvaluationError(
            "the model's logits are not numbers (NaN) while it generates.",
            "The weights are broken or overflow in this dtype (try bfloat16 or float32); no verdict is possible.",
        )
    return tokens


def gumbel(keys: Sequence[int], steps: Sequence[int], size: int, device: torch.device) -> torch.Tensor:
    """Return standard Gumbel noise, the same on every device.

    Its uniform numbers are those of SplitMix64 (Steele, Lea and Flood 2014), one stream a key and step.

    Returns
    -------
    float64 tensor of shape (len(keys), size)
    """
    streams = [_mixed(key + _mixed(step + 1)) for key, step in zip(keys, steps, strict=True)]
    state = torch.tensor([_signed(stream) for stream in streams], device=device)[:, None]
    state = state + torch.arange(1, size + 1, device=device) * _signed(_GOLDEN)
    state = (state ^ _shifted(state, 30)) * _signed(_MIX[0])
    state = (state ^ _shifted(state, 27)) * _signed(_MIX[1])
    state ^= _shifted(state, 31)
    uniform = (_shifted(state, 11).double() + 0.5) * 2.0**-53
    return -(-uniform.log()).log()


def _mixed(value: int) -> int:
    value = (value + _GOLDEN) % _WORD
    value = ((value ^ (value >> 30)) * _MIX[0]) % _WORD
    value = ((value ^ (value >> 27)) * _MIX[1]) % _WORD
    return value ^ (value >> 31)


def _signed(value: int) -> int:
    """Return the 64-bit integer with these bits as torch counts: signed."""
    value %= _WORD
    return value - _WORD if value >= _WORD // 2 else value


def _shifted(state: torch.Tensor, bits: int) -> torch.Tensor:
    """Shift right without the sign."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)
