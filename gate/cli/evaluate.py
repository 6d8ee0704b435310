"""`gate evaluate`: samples of any model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gate.cli import options

if TYPE_CHECKING:
    from gate.app.workflow import Found, Plan
    from gate.config import ModelSettings
    from gate.store import SampleSet


class ShardType(click.ParamType):  # type: ignore[type-arg]
    """`i/n`: shard i of n, counted from 1."""

    name = "i/n"

    def convert(  # noqa: D102 - click's
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", str(value), re.ASCII)
        index, of = map(int, match.groups()) if match else (0, 0)
        if not 1 <= index <= of:
            self.fail(f"{value!r} is not a shard such as 1/4, 2/4, 3/4 or 4/4.", param, ctx)
        return index, of


@click.command()
@click.argument("model", required=False)
@options.config
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder for the sample sets."
)
@click.option("--baseline", "as_baseline", is_flag=True, help="Evaluate the baseline of gate.yml instead.")
@click.option("--dtype", type=click.Choice(["auto", "bfloat16", "float16", "float32"]), help="Number format.")
@click.option("--revision", help="Hub revision.")
@click.option("--gguf-file", help="File name of a GGUF checkpoint inside the model folder.")
@click.option("--tokenizer", help="Folder or hub name of the tokenizer, or `baseline`.")
@click.option("--kl", is_flag=True, help="Measure KL divergence from the baseline's samples in the store.")
@click.option(
    "--shard",
    "shard",
    type=ShardType(),
    help="Answer shard i of n of each task's items; `gate merge` joins the shards.",
)
@options.quiet
def command(
    model: str | None,
    config_path: Path,
    out: Path,
    as_baseline: bool,
    kl: bool,
    shard: tuple[int, int] | None,
    quiet: bool,
    **given: str | None,
) -> int:
    """Evaluate MODEL (default: the candidate of gate.yml) on the tasks of gate.yml; write one set a task to --out.

    A relative MODEL starts from the current folder. `gate compare` reads the folder. A run that was stopped goes on
    where it was when the same command is given again.
    """
    from gate.app import workflow
    from gate.cli.console import Screen
    from gate.config import load_config

    if as_baseline and (model is not None or kl):
        raise click.UsageError("--baseline goes with neither MODEL nor --kl")
    planned = workflow.plan(load_config(config_path), Screen(quiet))
    config = planned.loaded.config
    settings = _settings(config.baseline if as_baseline else config.candidate, model, given)
    baseline = planned.find(config.baseline) if kl or settings.tokenizer == "baseline" else None
    found = planned.find(settings)
    sets = _stored(planned, baseline) if kl and baseline is not None else []
    for one in workflow.candidate_sets(planned, found, baseline, sets, folder=out, shard=shard).sets:
        click.echo(one.folder)
    return 0


def _settings(default: ModelSettings, model: str | None, given: dict[str, str | None]) -> ModelSettings:
    """Return the model to evaluate: MODEL where it is given, and the options over it."""
    from gate.config import ModelSettings

    if model is not None:
        local = Path(model).expanduser()
        default = ModelSettings(model=str(local.resolve()) if local.exists() else model)
    return default.model_copy(update={key: value for key, value in given.items() if value is not None})


def _stored(planned: Plan, baseline: Found) -> list[SampleSet]:
    """Return the baseline's sets in the store, in the order of the tasks."""
    from gate.errors import SampleError

    identity = baseline.identity
    sets = []
    for task in planned.tasks:
        folder = planned.store.folder(
            "baseline", identity.name, identity.fingerprint, task.name, task.fingerprint
        )
        found = planned.store.find(folder, identity.fingerprint, task.fingerprint)
        if found is None:
            raise SampleError(
                f"--kl: the store {planned.store.root} has no samples of the baseline {identity.name} for task "
                f"{task.name}.",
                "Run `gate baseline` first, or restore the store that holds them.",
            )
        sets.append(found)
    return sets
