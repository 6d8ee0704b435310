"""Greedy choice and seeded sampling of next tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from gate.engines.hf.model.distribution import likeliest
from gate.errors import EvaluationError
from gate.tasks.requests import GenerateRequest

_GOLDEN = 0x9E3779B97F4A7C15
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_WORD = 1 << 64
_NOISE_ROWS = 64  # rows of float64 noise held at a time


def noise_key(seed: int, prompt: Sequence[int]) -> int:
    """Return the 64-bit key of a request's sampling noise.

    The key depends on the prompt, so items do not share noise. It does not depend on the model: the baseline and the
    candidate sample with common random numbers, so equal distributions give equal texts.
    """
    text = ",".join(map(str, (seed, *prompt)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def processed(
    logits: torch.Tensor, requests: Sequence[GenerateRequest], tokens: Callable[[int], Sequence[int]]
) -> torch.Tensor:
    """Return logits after the repetition penalty, with minus infinity for tokens that top_k, top_p or min_p leave out.

    transformers' own processors, in its order: the penalty, the temperature, top_k, top_p, min_p. The temperature is
    not part of the result; `sample` applies it.

    Parameters
    ----------
    logits : float32 tensor of shape (rows, vocabulary)
    requests : sequence of GenerateRequest
        One per row.
    tokens : callable
        Returns the prompt and the generated tokens of a row.
    """
    groups: dict[tuple[float, int, float, float, float], list[int]] = {}
    for row, request in enumerate(requests):
        truncation = (request.top_k, request.top_p, request.min_p) if request.temperature > 0 else (0, 1.0, 0.0)
        if truncation != (0, 1.0, 0.0) or request.repetition_penalty != 1:
            key = (request.temperature, *truncation, request.repetition_penalty)
            groups.setdefault(key, []).append(row)
    if not groups:
        return logits
    logits = logits.clone()
    for (temperature, top_k, top_p, min_p, penalty), members in groups.items():
        for start in range(0, len(members), _NOISE_ROWS):
            rows = members[start : start + _NOISE_ROWS]
            if penalty != 1:
                ids = _padded([tokens(row) for row in rows], logits.device)
                logits[rows] = RepetitionPenaltyLogitsProcessor(float(penalty))(ids, logits[rows])
            warpers = LogitsProcessorList([TemperatureLogitsWarper(float(temperature))] if temperature > 0 else [])
            if top_k:
                warpers.append(TopKLogitsWarper(top_k))
            if top_p < 1:
                warpers.append(TopPLogitsWarper(top_p))
            if min_p > 0:
                warpers.append(MinPLogitsWarper(min_p))
            if warpers:
                left_out = warpers(logits.new_empty(0), logits[rows]) == -torch.inf  # they do not look at token ids
                logits[rows] = logits[rows].masked_fill(left_out, -torch.inf)
    return logits


def _padded(sequences: Sequence[Sequence[int]], device: torch.device) -> torch.Tensor:
    """Return token ids as a matrix; a row is filled with a token that it has, which a penalty counts once."""
    length = max(map(len, sequences))
    return torch.tensor([[*ids, *[ids[0]] * (length - len(ids))] for ids in sequences], device=device)


def sample(logits: torch.Tensor, temperatures: Sequence[float], keys: Sequence[int], steps: Sequence[int]) -> list[int]:
    """Return the next token of each row.

    A sampled token is the argmax of the log-probabilities at the temperature plus Gumbel noise, which has exactly the
    distribution at this temperature (the Gumbel-max trick). The noise depends only on key, step and token.

    Parameters
    ----------
    logits : float32 tensor of shape (rows, vocabulary)
    temperatures, keys, steps : sequences, one value per row
        Temperature (0 is greedy), result of `noise_key`, and number of tokens generated so far.

    Raises
    ------
    EvaluationError
        A logit is NaN. The argmax would silently be a wrong token.
    """
    best = likeliest(logits)
    broken = logits.gather(1, best[:, None])[:, 0].isnan()
    sampled = [row for row, temperature in enumerate(temperatures) if temperature > 0]
    for start in range(0, len(sampled), _NOISE_ROWS):
        rows = sampled[start : start + _NOISE_ROWS]
        index = torch.tensor(rows, device=logits.device)
        divisor = torch.tensor([temperatures[row] for row in rows], dtype=torch.float64, device=logits.device)
        noise = gumbel_noise([keys[row] for row in rows], [steps[row] for row in rows], logits.shape[1], logits.device)
        best[index] = (logits[index].double() / divisor[:, None] + noise).argmax(dim=1)
    # one device transfer for tokens and NaN flags: token -1 marks a row with NaN
    tokens: list[int] = best.masked_fill(broken, -1).tolist()
    if -1 in tokens:
        raise EvaluationError(
            "the model's logits are not numbers (NaN) during generation.",
            "The weights are broken or overflow in this dtype (try bfloat16 or float32); no verdict is possible.",
        )
    return tokens


def gumbel_noise(keys: Sequence[int], steps: Sequence[int], size: int, device: torch.device) -> torch.Tensor:
    """Return standard Gumbel noise that is the same on every device.

    The uniform numbers come from SplitMix64 (Steele, Lea and Flood 2014), with one stream per key and step.

    Returns
    -------
    float64 tensor of shape (len(keys), size)
    """
    streams = [_mix(key + _mix(step + 1)) for key, step in zip(keys, steps, strict=True)]
    state = torch.tensor([_to_signed(stream) for stream in streams], device=device)[:, None]
    state = state + torch.arange(1, size + 1, device=device) * _to_signed(_GOLDEN)
    state = (state ^ _logical_shift(state, 30)) * _to_signed(_MIX[0])
    state = (state ^ _logical_shift(state, 27)) * _to_signed(_MIX[1])
    state ^= _logical_shift(state, 31)
    uniform = (_logical_shift(state, 11).double() + 0.5) * 2.0**-53
    return -(-uniform.log()).log()


def _mix(value: int) -> int:
    value = (value + _GOLDEN) % _WORD
    value = ((value ^ (value >> 30)) * _MIX[0]) % _WORD
    value = ((value ^ (value >> 27)) * _MIX[1]) % _WORD
    return value ^ (value >> 31)


def _to_signed(value: int) -> int:
    """Return the same 64 bits as a signed integer, which torch requires."""
    value %= _WORD
    return value - _WORD if value >= _WORD // 2 else value


def _logical_shift(state: torch.Tensor, bits: int) -> torch.Tensor:
    """Shift right and fill with zeros."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)
