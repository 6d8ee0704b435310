"""`gate evaluate`: samples of any model."""

from __future__ import annotations

from pathlib import Path

import click

from gate.cli import options


@click.command()
@click.argument("model", required=False)
@options.config
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder for the sample sets."
)
@click.option("--dtype", type=click.Choice(["auto", "bfloat16", "float16", "float32"]), help="Number format.")
@click.option("--revision", help="Hub revision.")
@click.option("--gguf-file", help="File name of a GGUF checkpoint inside the model folder.")
@click.option("--tokenizer", help="Folder or hub name of the tokenizer, or `baseline`.")
@options.quiet
def command(
    model: str | None,
    config_path: Path,
    out: Path,
    dtype: str | None,
    revision: str | None,
    gguf_file: str | None,
    tokenizer: str | None,
    quiet: bool,
) -> int:
    """Evaluate MODEL (default: the candidate of gate.yml) on the tasks of gate.yml; write one set a task to --out.

    A relative MODEL starts from the current folder. `gate compare` reads the folder.
    """
    from gate.cli import workflow
    from gate.cli.console import Screen
    from gate.config import ModelSettings, load_config

    planned = workflow.plan(load_config(config_path), Screen(quiet))
    settings = planned.loaded.config.candidate
    if model is not None:
        local = Path(model).expanduser()
        settings = ModelSettings(model=str(local.resolve()) if local.exists() else model)
    given = {"dtype": dtype, "revision": revision, "gguf_file": gguf_file, "tokenizer": tokenizer}
    settings = settings.model_copy(update={key: value for key, value in given.items() if value is not None})
    baseline = planned.find(planned.loaded.config.baseline) if settings.tokenizer == "baseline" else None
    for one in workflow.candidate_sets(planned, planned.find(settings), baseline, folder=out):
        click.echo(one.folder)
    return 0
