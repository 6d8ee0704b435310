"""Prefill: compute the keys and values of admitted sequences, in passes of bounded size."""

from __future__ import annotations

from collections.abc import Sequence

from gate.engines.hf.generation.paged_model import PagedModel
from gate.engines.hf.generation.scheduler import Admission


def prefill(paged: PagedModel, admission: Admission, max_tokens: int, max_attended: int) -> None:
    """Put the tokens of admitted sequences into the cache, except the last, which the next decode step appends.

    Parameters
    ----------
    max_tokens : int
        Upper bound of the new tokens of a pass, including padding.
    max_attended : int
        Upper bound of the tokens that a pass attends to: new tokens and prefix, summed over the rows.
    """
    prefix, sequences = admission.prefix, admission.prefills
    if prefix and sequences and paged.kv.prefix != prefix:
        paged.prefill_prefix(prefix)
    start = len(prefix)
    paged.fork({sequence.index: sequence.length for sequence in sequences}, start)
    lengths = [sequence.length - 1 - start for sequence in sequences]
    for batch in _batches(lengths, start, max_tokens, max_attended):
        tokens = [sequence.tokens[start:-1] for sequence in sequences[batch]]
        if any(tokens):
            paged.prefill([sequence.index for sequence in sequences[batch]], tokens, start)
    for sequence, source in admission.forks:
        paged.fork({sequence.index: sequence.length}, sequence.length - 1, source.index)


def _batches(lengths: Sequence[int], start: int, max_tokens: int, max_attended: int) -> list[slice]:
    """Split rows with `lengths` new tokens, and `start` tokens in the cache, into batches of similar length."""
    batches: list[slice] = []
    first = 0
    for row, length in enumerate(lengths):
        longest, rows = max(lengths[first : row + 1]), row + 1 - first
        too_large = longest * rows > max_tokens or (longest + start) * rows > max_attended
        if row > first and (too_large or 2 * length < longest):
            batches.append(slice(first, row))
            first = row
    return [*batches, slice(first, len(lengths))] if lengths else []
