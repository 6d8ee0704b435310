"""The baseline's stored distributions, which the candidate's are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow.compute as pc

from gate.samples.record import TaskSamples
from gate.tasks.requests import Distribution

_LISTS = ("top_tokens", "top_logprobs", "drawn_tokens", "drawn_logprobs")


class StoredDistributions(Mapping[str, Distribution]):
    """The distributions of a baseline's samples by item id; empty if the samples have none.

    Each distribution is read from its row on access, because all of them together may not fit in memory.
    """

    def __init__(self, baseline: TaskSamples) -> None:
        columns = baseline.table.select(("item_id", *_LISTS, "tail_mass"))
        self._table = columns.filter(pc.is_valid(columns.column("tail_mass"))).combine_chunks()
        self._rows = {item_id: row for row, item_id in enumerate(self._table.column("item_id").to_pylist())}

    def __getitem__(self, item_id: str) -> Distribution:
        row = self._rows[item_id]
        lists = (self._table.column(name)[row].values for name in _LISTS)
        tokens, logprobs, drawn, drawn_logprobs = (
            () if values is None else tuple(values.to_numpy(zero_copy_only=False).tolist()) for values in lists
        )
        return Distribution(tokens, logprobs, self._table.column("tail_mass")[row].as_py(), drawn, drawn_logprobs)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)
