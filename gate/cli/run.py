"""`gate run`: the main job."""

from __future__ import annotations

from pathlib import Path

import click

from gate.cli import options


@click.command()
@options.config
@click.option("--force-baseline", is_flag=True, help="Evaluate the baseline again even where it is cached.")
@click.option(
    "--json", "json_path", help="Write result.json here too; - for standard output, and nothing else there."
)
@options.quiet
def command(config_path: Path, force_baseline: bool, json_path: str | None, quiet: bool) -> int:
    """Evaluate the candidate against the baseline (cached, or built now) and judge it.

    Writes the report files that gate.yml names and exits with the verdict's code.
    """
    from gate.app import job
    from gate.cli.console import Screen
    from gate.config import load_config
    from gate.files import write_text
    from gate.report import Result, print_result, to_json

    screen = Screen(quiet)

    def show(found: Result) -> None:
        if json_path == "-":
            click.echo(to_json(found), nl=False)
        else:
            print_result(found, screen.out, flips=0 if quiet else 5)

    result = job.run(
        load_config(config_path),
        screen,
        ["gate", "run", "--config", str(config_path)],
        show,
        force_baseline,
    )
    if json_path not in (None, "-"):
        write_text(Path(json_path), to_json(result))
    return result.exit_code
