"""The earlier runs of a series, and whether a resumed run is among them already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gate.app.evaluate import Evaluated
from gate.common.canonical import digest
from gate.store.history import LocalHistory, Record, RemoteHistory


@dataclass(frozen=True)
class Past:
    """What the history holds when a run is judged.

    A run that was interrupted after it was recorded judges the same sample sets again. It is then the same run: its
    level is that of the first time, and it is recorded once.

    Attributes
    ----------
    earlier : list of Record
        The runs of the series before this one, on which its level depends; empty if it depends on none.
    run : str
        Identifies the run: the hash of its candidates' sample sets.
    recorded : list of Record
        The records of this run itself.
    after : int or None
        Number of records of the series; None if the level does not depend on them.
    """

    earlier: list[Record]
    run: str
    recorded: list[Record]
    after: int | None

    def append(self, history: LocalHistory | RemoteHistory, records: Sequence[Record]) -> None:
        """Append the records of this run that the history does not hold yet."""
        known = {record.name for record in self.recorded}
        for number, record in enumerate(one for one in records if one.name not in known):
            history.append(record, after=None if self.after is None else self.after + number)


def read_past(history: LocalHistory | RemoteHistory, series: str, evaluated: Sequence[Evaluated], spends: bool) -> Past:
    """Read the runs of a series, under the history's lock.

    Parameters
    ----------
    evaluated : sequence of Evaluated
        The candidates of the run.
    spends : bool
        Whether the level of the run depends on earlier ones.

    Raises
    ------
    SampleError
        The history is damaged.
    """
    manifests = [sample_set.manifest for one in evaluated for sample_set in one.sets]
    # an evaluation's time of creation, in milliseconds, tells it from another one with the same answers
    run = digest([[one.created, one.settings, [file.sha256 for file in one.data_files]] for one in manifests])[:16]
    if not spends and not any(one.resumed for one in evaluated):
        return Past([], run, [], None)
    records = history.read(series)
    recorded = [record for record in records if record.run == run]
    earlier = records[: records.index(recorded[0])] if recorded else records
    return Past(earlier if spends else [], run, recorded, len(records) if spends else None)
