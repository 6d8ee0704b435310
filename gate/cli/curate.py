"""`gate curate`: a cheaper suite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gate.cli import options

if TYPE_CHECKING:
    from gate.app.workflow import Plan
    from gate.tasks import Curation


@click.command()
@options.config
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder for the lists of items."
)
@click.option("--runs", type=click.IntRange(2, 100), default=10, show_default=True, help="Answers per item.")
@click.option(
    "--temperature",
    type=options.Number(0, 10, min_open=True),
    default=0.3,
    show_default=True,
    help="Sampling temperature.",
)
@click.option("--task", "tasks", multiple=True, help="Curate only this task; may be given several times.")
@options.quiet
def command(
    config_path: Path, out: Path, runs: int, temperature: float, tasks: tuple[str, ...], quiet: bool
) -> int:
    """Choose the items that carry signal: those that the baseline gets neither always right nor always wrong.

    The baseline answers each item several times; one file a task is written to --out, for `items:` of the task in
    gate.yml. No candidate is looked at. Multiple-choice items are scored once and drawn from; texts are generated anew.
    """
    from rich.table import Table

    from gate.app import workflow
    from gate.cli.console import Screen
    from gate.config import load_config
    from gate.errors import ConfigError
    from gate.files import write_text

    screen = Screen(quiet)
    loaded = load_config(config_path)
    unknown = sorted(set(tasks) - {task.name for task in loaded.config.tasks})
    if unknown:
        raise ConfigError(
            f"no such task in {config_path}: {', '.join(unknown)}.",
            f"It has: {', '.join(task.name for task in loaded.config.tasks)}.",
        )
    # the list is of the whole task, whatever list the gate.yml names today
    wanted = [
        task.model_copy(update={"items": None})
        for task in loaded.config.tasks
        if not tasks or task.name in tasks
    ]
    narrowed = loaded.config.model_copy(update={"tasks": wanted})
    found = choose(workflow.plan(replace(loaded, config=narrowed), screen), runs, temperature)
    table = Table("Task", "Items", "Kept", "Always right", "Always wrong", "File")
    for one in found:
        path = out / f"{one.task}.json"
        write_text(path, one.model_dump_json(indent=1) + "\n")
        counts = (one.total, len(one.kept), one.always_right, one.always_wrong)
        table.add_row(one.task, *(f"{count:,}" for count in counts), str(path))
    screen.out.print(table)
    screen.say(
        "In gate.yml, give each task `items:` with its file; the baseline is then evaluated on those alone."
    )
    return 0


def choose(plan: Plan, runs: int, temperature: float) -> list[Curation]:
    """Answer every item of the planned tasks several times with the baseline and keep those that carry signal."""
    from gate.app import workflow
    from gate.config import SampleSettings
    from gate.errors import ConfigError
    from gate.evaluation.curate import curation, repeated_texts, sampled_choices

    config = plan.loaded.config
    seed = config.samples.seed
    found = plan.find(config.baseline)
    chosen = {}
    choices = [task for task in plan.tasks if not task.generates]
    unfit = [task.name for task in choices if any(item.gold is None for item in task.items)]
    if unfit:
        raise ConfigError(
            f"neither multiple choice with one right answer nor generated text: {', '.join(unfit)}.",
            "Name the tasks to curate with --task.",
        )
    if choices:
        for task, one in zip(
            choices, workflow.baseline_sets(replace(plan, tasks=tuple(choices)), found), strict=True
        ):
            drawn = sampled_choices(task, one.read(), runs, temperature, seed)
            chosen[task.name] = curation(task, found.identity.fingerprint, drawn, runs, temperature, seed)
    asked = {task.name: task for task in plan.tasks}
    texts = [task.settings for task in plan.tasks if task.name not in chosen]
    if texts:
        sampled = SampleSettings(
            **{**config.samples.model_dump(), "repeats": runs, "temperature": temperature}
        )
        repeated = config.model_copy(update={"tasks": texts, "samples": sampled})
        again = workflow.plan(replace(plan.loaded, config=repeated), plan.screen)
        for task, one in zip(again.tasks, workflow.baseline_sets(again, found), strict=True):
            right = repeated_texts(one.read())
            # the list is for the task as the gate asks it, not for the repeated one
            chosen[task.name] = curation(
                asked[task.name], found.identity.fingerprint, right, runs, temperature, seed
            )
    return [chosen[task.name] for task in plan.tasks]
