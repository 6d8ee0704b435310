"""`gate merge`: merge the shards of a workflow matrix."""

from __future__ import annotations

from pathlib import Path

import click

from gate.cli import options


@click.command()
@click.argument("shards", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for the merged sets, one per task.")
@click.option("--into-store", is_flag=True, help="Write the sets to the store of gate.yml, as the baseline's sets.")
@options.config
@options.quiet
def command(shards: tuple[Path, ...], out: Path | None, into_store: bool, config_path: Path, quiet: bool) -> int:
    """Merge the SHARDS that `gate evaluate --shard i/n` wrote into one complete set per task.

    Each of SHARDS is the --out folder of one shard. All shards of a task must be given, each once, and all must be of
    the same model and settings. Give either --out or --into-store. `gate compare` reads --out.
    """
    from gate.app.merge import merge_into_folder, merge_into_store
    from gate.cli.console import Terminal
    from gate.errors import ConfigError

    if (out is None) != into_store:
        raise ConfigError("gate merge needs one destination: either --out or --into-store.")
    terminal = Terminal(quiet)
    if out is None:
        merged = merge_into_store(shards, config_path, terminal)
    else:
        merged = merge_into_folder(shards, out, terminal)
    for sample_set in merged:
        click.echo(sample_set.folder)
    return 0
