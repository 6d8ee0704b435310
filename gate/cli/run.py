"""`gate run`: the main job."""

from __future__ import annotations

from pathlib import Path

import click

from gate.cli import options


@click.command()
@options.config
@click.option("--force-baseline", is_flag=True, help="Evaluate the baseline again even where it is cached.")
@options.quiet
def command(config_path: Path, force_baseline: bool, quiet: bool) -> int:
    """Evaluate the candidate against the baseline (cached, or built now) and judge it.

    Writes the report files that gate.yml names and exits with the verdict's code.
    """
    from gate.cli import job
    from gate.cli.console import Screen
    from gate.config import load_config
    from gate.report import print_result

    screen = Screen(quiet)
    result = job.run(
        load_config(config_path),
        screen,
        ["gate", "run", "--config", str(config_path)],
        lambda found: print_result(found, screen.out, flips=0 if quiet else 5),
        force_baseline,
    )
    return result.exit_code
