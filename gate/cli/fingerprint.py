"""`gate fingerprint`: the key of the baseline's cache."""

from __future__ import annotations

from pathlib import Path

import click

from gate.cli import options


@click.command()
@options.config
@click.option("--json", "as_json", is_flag=True, help="Print what the key is made of, as JSON.")
def command(config_path: Path, as_json: bool) -> int:
    """Print the key of the baseline's samples: 64 hexadecimal digits that change when they must be made anew.

    For the `key` of actions/cache. It covers the baseline's weights, tokenizer, dtype and engine with its libraries,
    the tasks, and the version of the samples' format; it does not depend on the candidate.
    """
    import json

    from gate.config import load_config
    from gate.engines import identify, locate
    from gate.samples import SCHEMA_VERSION
    from gate.tasks import build_suite, digest

    loaded = load_config(config_path)
    config = loaded.config
    engine = config.engine_of(config.baseline)
    identity = identify(locate(config.baseline, loaded.folder, engine), engine, loaded.folder)
    tasks = build_suite(config, loaded.folder)
    parts = {
        "schema_version": SCHEMA_VERSION,
        "model": identity.fingerprint,
        "tasks": {task.name: task.fingerprint for task in tasks},
        "kl_top": config.distance.kl_top if config.distance.kl else 0,
    }
    key = digest(parts)
    if as_json:
        about = {"key": key, **parts, "baseline": identity.name, "engine": identity.engine}
        click.echo(json.dumps(about, indent=1))
    else:
        click.echo(key)
    return 0
