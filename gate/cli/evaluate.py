"""`gate evaluate`: samples of any model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from gate.cli import options


class Shard(click.ParamType):  # type: ignore[type-arg]
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
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder for the sample sets.")
@click.option("--baseline", "as_baseline", is_flag=True, help="Evaluate the baseline of gate.yml instead.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "bfloat16", "float16", "float32"]),
    help="Number format of the weights.",
)
@click.option("--revision", help="Hub revision of MODEL.")
@click.option("--gguf-file", help="File name of a GGUF checkpoint inside the model folder.")
@click.option("--tokenizer", help="Folder or hub name of the tokenizer; `baseline` uses the baseline's.")
@click.option("--kl", is_flag=True, help="Measure KL divergence from the baseline's samples in the store.")
@click.option(
    "--shard",
    type=Shard(),
    help="Evaluate shard i of n of each task's items; `gate merge` merges the shards.",
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
    **overrides: str | None,
) -> int:
    """Evaluate MODEL (default: the candidate of gate.yml) and write one sample set per task to --out.

    Where gate.yml has several candidates, MODEL may be the name of one. A relative MODEL starts from the current
    folder. `gate compare` reads the folder. The same command resumes an interrupted run.
    """
    from gate.app.answers import evaluate_model, model_settings
    from gate.cli.console import Terminal
    from gate.config import load_config

    if as_baseline and (model is not None or kl):
        raise click.UsageError("--baseline cannot be combined with MODEL or --kl")
    loaded = load_config(config_path)
    settings = model_settings(loaded, model, "baseline" if as_baseline else "candidate", **overrides)
    for sample_set in evaluate_model(loaded, settings, out, Terminal(quiet), kl=kl, shard=shard):
        click.echo(sample_set.folder)
    return 0
