"""Generates reference pages: of gate.yml and result.json from their JSON Schemas, and the table of checkpoint formats.

Run by mkdocs (gen-files).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mkdocs_gen_files

from gate.config import GateConfig
from gate.report import Result
from gate.report.candidates import CandidatesResult

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


def type_name(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return a short name of a JSON Schema's type."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        definition = definitions[name]
        return type_name(definition, definitions) if "enum" in definition else f"[{name}](#{name.lower()})"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(type_name(option, definitions) for option in options))
    if "const" in schema:
        value = schema["const"]
        return f"`{value if isinstance(value, str) else json.dumps(value)}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {type_name(schema.get('items', {}), definitions)}"
    return str(schema.get("type", "any"))


def default(schema: Mapping[str, Any], required: bool) -> str:
    """Return the default as YAML; empty for a section, and for a default that the schema does not state."""
    if required:
        return "required"
    value = schema.get("default", {})
    return "" if isinstance(value, dict) else f"`{json.dumps(value)}`"


def description(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return the description, which pydantic omits if it is that of the definition that is referred to."""
    definition = definitions.get(schema.get("$ref", "").rpartition("/")[2], {})
    text = str(schema.get("description") or definition.get("description", ""))
    return text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def table(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return a Markdown table of an object's properties."""
    rows = ["| Key | Type | Default | Description |", "|:--|:--|:--|:--|"]
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        type_ = type_name(field, definitions).replace("|", "\\|")
        value = default(field, name in required)
        rows.append(f"| `{name}` | {type_} | {value} | {description(field, definitions)} |")
    return "\n".join(rows)


def page(title: str, intro: str, schema: Mapping[str, Any], only: tuple[str, ...] | None = None) -> str:
    """Return a page with one section per object of a schema, or per object in `only`."""
    definitions = schema.get("$defs", {})
    parts = [f"# {title}", intro, table(schema, definitions)]
    for name, definition in definitions.items():
        if "properties" in definition and (only is None or name in only):
            parts += [f"## {name}", description(definition, definitions), table(definition, definitions)]
    return "\n\n".join(parts) + "\n"


PAGES = {
    "reference/gate-yml.md": page(
        "gate.yml",
        "Generated from the code. An unknown or misspelt key is an error that names the key, its line and the nearest "
        "valid key. Relative paths start from the folder of the file. `gate schema` prints the JSON Schema for your "
        "editor.",
        GateConfig.model_json_schema(by_alias=True),
    ),
    "reference/result.md": page(
        "result.json",
        "Generated from the code. Scores, drops and rates are proportions, p-values are not rounded, and a drop is "
        "positive if the candidate is worse. `gate schema --result` prints the JSON Schema.",
        Result.model_json_schema(by_alias=True),
    ),
    "reference/candidates.md": page(
        "result.json of several candidates",
        "Generated from the code. `result` of a candidate is the [result.json of one candidate](result.md), with the "
        "p-value adjusted over the candidates.",
        CandidatesResult.model_json_schema(by_alias=True),
        only=("CandidateResult", "Unevaluated"),
    ).replace("(#result)", "(result.md)"),
    "reference/formats.md": (RESULTS / "formats.md").read_text(encoding="utf-8"),
}
for path, text in PAGES.items():
    with mkdocs_gen_files.open(path, "w") as file:
        file.write(text)
