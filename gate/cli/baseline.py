"""`gate baseline`: fill the cache."""

from __future__ import annotations

from pathlib import Path

import click

from gate.cli import options


@click.command()
@options.config
@click.option("--force", is_flag=True, help="Evaluate again even if a complete set is stored.")
@options.quiet
def command(config_path: Path, force: bool, quiet: bool) -> int:
    """Evaluate the baseline of gate.yml on its tasks and store the samples."""
    from gate.app.answers import evaluate_baseline
    from gate.cli.console import Terminal
    from gate.config import load_config

    for sample_set in evaluate_baseline(load_config(config_path), Terminal(quiet), force):
        click.echo(sample_set.folder)
    return 0
