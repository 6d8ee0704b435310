"""`gate schema`: JSON Schemas for editors."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--result", is_flag=True, help="Print the schema of result.json instead.")
def command(result: bool) -> int:
    """Print the JSON Schema of gate.yml, for completion and validation in an editor."""
    if result:
        from gate.report import Result as Model
    else:
        from gate.config import GateConfig as Model  # type: ignore[assignment]
    schema = Model.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    click.echo(json.dumps(schema, indent=2))
    return 0
