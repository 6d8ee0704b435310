"""`gate merge`: the shards of a workflow matrix become whole sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gate.cli import options

if TYPE_CHECKING:
    from gate.cli.console import Screen
    from gate.store import Store
    from gate.store.manifest import Manifest


@click.command()
@click.argument("shards", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for the whole sets, one a task.")
@click.option(
    "--into-store", is_flag=True, help="Put the sets into the store of gate.yml, as those of the baseline."
)
@options.config
@options.quiet
def command(
    shards: tuple[Path, ...], out: Path | None, into_store: bool, config_path: Path, quiet: bool
) -> int:
    """Put the SHARDS that `gate evaluate --shard i/n` wrote together: one whole set a task.

    Each of SHARDS is the --out folder of one shard. All shards of a task must be there, each once, from the same model
    asked in the same way. `gate compare` reads --out.
    """
    from gate.cli.console import Screen
    from gate.errors import ConfigError
    from gate.store.merge import merge, read_shards

    if (out is None) == (not into_store):
        raise ConfigError("gate merge needs a place: either --out or --into-store.")
    screen = Screen(quiet)
    tasks = read_shards(shards)
    store = _store(config_path, screen) if into_store else None
    places = {
        task: (out or Path()) / task if store is None else _in_store(store, task, sets[0].manifest)
        for task, sets in tasks.items()
    }
    for task, sets in tasks.items():
        done = merge(sets, places[task], screen.say)
        screen.say(f"  {task}: {done.manifest.items} items from {len(sets)} shards")
        if store is not None:
            store.publish(done)
        click.echo(done.folder)
    return 0


def _store(config_path: Path, screen: Screen) -> Store:
    """Return the store of a gate.yml, ready to be written."""
    from gate.config import load_config
    from gate.store.remote import open_store

    loaded = load_config(config_path)
    store = open_store(loaded.config.samples.store, loaded.folder, screen.say)
    store.prepare()
    return store


def _in_store(store: Store, task: str, shard: Manifest) -> Path:
    """Return where the baseline's set belongs that a shard is of, after a check that it can be the baseline's."""
    from gate.errors import SampleError

    if shard.reference is not None:
        raise SampleError(
            f"task {task}: the shards hold KL divergences from another model, not the distributions that a baseline "
            "stores.",
            "Evaluate them with `gate evaluate --baseline --shard i/n`.",
        )
    model = shard.model
    return store.folder("baseline", model.name, model.fingerprint, task, shard.task_fingerprint)
