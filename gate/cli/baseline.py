"""`gate baseline`: fill the cache."""

from __future__ import annotations

from pathlib import Path

import click

from gate.cli import options


@click.command()
@options.config
@click.option("--force", is_flag=True, help="Evaluate again even where a complete set is stored.")
@options.quiet
def command(config_path: Path, force: bool, quiet: bool) -> int:
    """Evaluate the baseline of gate.yml on its tasks and store the samples."""
    from gate.app import workflow
    from gate.cli.console import Screen
    from gate.config import load_config

    planned = workflow.plan(load_config(config_path), Screen(quiet))
    sets = workflow.baseline_sets(planned, planned.find(planned.loaded.config.baseline), force)
    for one in sets:
        click.echo(one.folder)
    return 0
