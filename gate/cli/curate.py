"""`gate curate`: a cheaper suite."""

from __future__ import annotations

from pathlib import Path

import click

from gate.cli import options


@click.command()
@options.config
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder for the lists of items.")
@click.option("--runs", type=click.IntRange(2, 100), default=10, show_default=True, help="Answers per item.")
@click.option(
    "--temperature",
    type=options.Number(0, 10, min_open=True),
    default=0.3,
    show_default=True,
    help="Sampling temperature.",
)
@click.option(
    "--audit",
    type=options.Number(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="Keep at least this share of every kind of item, so that certain but wrong answers show.",
)
@click.option("--by", metavar="MODEL", help="Select by this model's answers instead of the baseline's.")
@click.option("--task", "tasks", multiple=True, help="Curate only this task; may be repeated.")
@options.quiet
def command(
    config_path: Path,
    out: Path,
    runs: int,
    temperature: float,
    audit: float,
    by: str | None,
    tasks: tuple[str, ...],
    quiet: bool,
) -> int:
    """Keep the items that a model gets right sometimes but not always, and a random share of the others.

    One file per task is written to --out, for `items:` of the task in gate.yml. No candidate is evaluated. For
    multiple choice, the answers are sampled from log-likelihoods computed once; the gate later applies the same rule
    to the candidate, and compares the items that both models select. Generated texts need --by: a model that is
    neither the baseline nor the candidate, which runs once per answer.
    """
    from rich.table import Table

    from gate.app.curate import curate
    from gate.cli.console import Terminal
    from gate.common.files import write_text

    terminal = Terminal(quiet)
    table = Table("Task", "Items", "Kept", "Always right", "Always wrong", "File")
    for curation in curate(config_path, terminal, tasks=tasks, runs=runs, temperature=temperature, audit=audit, by=by):
        path = out / f"{curation.task}.json"
        write_text(path, curation.model_dump_json(indent=1) + "\n")
        counts = (curation.total, len(curation.kept), curation.always_right, curation.always_wrong)
        table.add_row(curation.task, *(f"{count:,}" for count in counts), str(path))
    terminal.out.print(table)
    terminal.message(
        "In gate.yml, set `items:` of each task to its file; both models are then evaluated on those items only."
    )
    return 0
