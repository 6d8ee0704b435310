"""`gate fingerprint`: the cache key of the baseline."""

from __future__ import annotations

from pathlib import Path

import click

from gate.cli import options


@click.command()
@options.config
@click.option("--json", "as_json", is_flag=True, help="Print the key and what it is computed from, as JSON.")
def command(config_path: Path, as_json: bool) -> int:
    """Print the cache key of the baseline's samples: 64 hexadecimal digits.

    For the `key` of actions/cache. The key covers the baseline's weights, tokenizer, dtype and engine with its
    libraries, the tasks, and the version of the sample format. It does not depend on the candidate.
    """
    import json

    from gate.app.fingerprint import fingerprint
    from gate.config import load_config

    result = fingerprint(load_config(config_path))
    if as_json:
        about = {"key": result.key, **result.parts, "baseline": result.baseline, "engine": result.engine}
        click.echo(json.dumps(about, indent=1))
    else:
        click.echo(result.key)
    return 0
