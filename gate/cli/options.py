"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

config = click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=Path("gate.yml"),
    show_default=True,
    help="The configuration file.",
)
quiet = click.option("-q", "--quiet", is_flag=True, help="Print errors and the verdict only.")
