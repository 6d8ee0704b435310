"""`gate schema`: JSON Schemas for editors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pydantic import BaseModel


@click.command()
@click.option("--result", is_flag=True, help="Print the schema of result.json instead.")
@click.option("--candidates", is_flag=True, help="Print the schema of result.json of several candidates instead.")
def command(result: bool, candidates: bool) -> int:
    """Print the JSON Schema of gate.yml, for completion and validation in an editor."""
    from gate.config import GateConfig
    from gate.report import Result
    from gate.report.candidates import CandidatesResult

    model: type[BaseModel] = CandidatesResult if candidates else Result if result else GateConfig
    schema = model.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    click.echo(json.dumps(schema, indent=2))
    return 0
