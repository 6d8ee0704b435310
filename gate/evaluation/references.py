"""Distributions along answers as columns of a sample: written for a baseline, read to compare a candidate with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gate.samples.record import TaskSamples
from gate.tasks.requests import Along, Distribution, Divergence, LoglikelihoodAnswer, RollingAnswer

_FIRST = ("top_tokens", "top_logprobs", "drawn_tokens", "drawn_logprobs")
_LATER = ("later_top_tokens", "later_top_logprobs", "later_drawn_tokens", "later_drawn_logprobs")


def distribution_columns(
    distribution: Distribution | None, divergence: Divergence | None, along: Along | None
) -> dict[str, object]:
    """Return the columns that hold an answer's distributions, or its divergences."""
    row: dict[str, object] = {}
    if distribution is not None:
        row["top_tokens"] = np.asarray(distribution.tokens, np.int32)
        row["top_logprobs"] = np.asarray(distribution.logprobs, np.float16)
        row["tail_mass"] = distribution.tail
        if distribution.drawn:
            row["drawn_tokens"] = np.asarray(distribution.drawn, np.int32)
            row["drawn_logprobs"] = np.asarray(distribution.drawn_logprobs, np.float16)
    if divergence is not None:
        row["kl"], row["same_top"], row["kl_variance"] = divergence.kl, divergence.same_top, divergence.variance
    if along is None or (distribution is None and divergence is None):
        return row
    row["answer_tokens"] = along.tokens
    if along.distributions:
        stored = along.distributions
        row["later_positions"] = np.array([each.position for each in stored], np.int32)
        row["later_top_tokens"] = np.array([each.tokens for each in stored], np.int32).ravel()
        row["later_top_logprobs"] = np.array([each.logprobs for each in stored], np.float16).ravel()
        row["later_tail_mass"] = np.array([each.tail for each in stored], np.float32)
        row["later_drawn_tokens"] = np.array([each.drawn for each in stored], np.int32).ravel()
        row["later_drawn_logprobs"] = np.array([each.drawn_logprobs for each in stored], np.float16).ravel()
    if along.divergences:
        row["later_positions"] = np.array([each.position for each in along.divergences], np.int32)
        row["later_kl"] = np.array([each.kl for each in along.divergences], np.float32)
        row["later_kl_variance"] = [each.variance for each in along.divergences]
        row["later_same_top"] = [each.same_top for each in along.divergences]
    return row


def columns_of(answer: LoglikelihoodAnswer | RollingAnswer) -> dict[str, object]:
    """Return the columns that hold what an answer says about distributions, and the tokens of a text."""
    row = distribution_columns(answer.distribution, answer.divergence, answer.along)
    if isinstance(answer, RollingAnswer) and answer.token_logprobs:
        row["token_logprobs"] = np.asarray(answer.token_logprobs, np.float32)
    return row


class StoredDistributions(Mapping[str, tuple[Distribution, ...]]):
    """The distributions of a baseline's samples by item id, that of the first token first; empty if there are none.

    They are read from their row on access, because all of them together may not fit in memory.
    """

    def __init__(self, baseline: TaskSamples) -> None:
        columns = baseline.table.select(
            ("item_id", *_FIRST, "tail_mass", "later_positions", "later_tail_mass", *_LATER, "text_tokens")
        )
        self._table = columns.filter(pc.is_valid(columns.column("tail_mass"))).combine_chunks()
        self._rows = {item_id: row for row, item_id in enumerate(self._table.column("item_id").to_pylist())}

    def __getitem__(self, item_id: str) -> tuple[Distribution, ...]:
        row = self._rows[item_id]
        tokens, logprobs, drawn, drawn_logprobs = (tuple(self._values(name, row).tolist()) for name in _FIRST)
        tail = self._table.column("tail_mass")[row].as_py()
        first = Distribution(tokens, logprobs, tail, drawn, drawn_logprobs)
        positions = self._values("later_positions", row).tolist()
        if not positions:
            return (first,)
        later = (self._values(name, row).reshape(len(positions), -1).tolist() for name in _LATER)
        tails = self._values("later_tail_mass", row).tolist()
        return (
            first,
            *(
                Distribution(tuple(ids), tuple(values), rest, tuple(others), tuple(their_values), position)
                for position, rest, ids, values, others, their_values in zip(positions, tails, *later, strict=True)
            ),
        )

    def text_tokens(self, item_id: str) -> tuple[int, ...]:
        """Return the tokens of the text that the baseline generated; empty if they are not stored."""
        return tuple(self._values("text_tokens", self._rows[item_id]).tolist()) if item_id in self._rows else ()

    def _values(self, name: str, row: int) -> np.ndarray:
        values: pa.Array | None = self._table.column(name)[row].values
        return np.empty(0) if values is None else values.to_numpy(zero_copy_only=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)
