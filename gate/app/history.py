"""The past runs that a store remembers."""

from __future__ import annotations

from pathlib import Path

from gate.app.reporter import Reporter
from gate.config import load_config
from gate.errors import SampleError
from gate.store.history import Record, open_history
from gate.store.remote import open_store


def past_runs(
    config_path: Path,
    store: str | None,
    reporter: Reporter,
    series: str | None = None,
    last: int | None = None,
) -> list[Record]:
    """Return the past runs of a store, oldest first.

    Parameters
    ----------
    config_path : Path
        gate.yml that names the store, where `store` does not.
    store : str, optional
        A folder, or a URL such as s3://bucket/path.
    series : str, optional
        Only series whose id starts with this.
    last : int, optional
        Only the last runs.

    Raises
    ------
    SampleError
        There is no such run.
    """
    base = Path()
    if store is None:
        loaded = load_config(config_path)
        store, base = loaded.config.samples.store, loaded.folder
    records = [
        record
        for record in open_history(open_store(store, base, reporter.message)).read()
        if record.series.startswith(series or "")
    ]
    if not records:
        raise SampleError(
            f"the history of {store} has no run{f' of series {series}' if series else ''}.",
            "`gate run` appends a line to its store's history.jsonl; name the store with --store.",
        )
    return records[-last:] if last else records
