"""Writes the reference pages that come from the code; run by mkdocs (gen-files)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mkdocs_gen_files

from gate.config import GateConfig
from gate.report import Result


def kind(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return a short name of a JSON Schema's type."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        inner = definitions[name]
        return kind(inner, definitions) if "enum" in inner else f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(kind(one, definitions) for one in schema["anyOf"]))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}), definitions)}"
    return str(schema.get("type", "any"))


def default(schema: Mapping[str, Any], required: bool) -> str:
    """Return the default as it would be written in YAML."""
    if required:
        return "required"
    value = schema.get("default")
    words = {None: "null", True: "true", False: "false"}
    if isinstance(value, dict | list):
        return "" if value else "empty"
    return f"`{words.get(value, value)}`" if not isinstance(value, str) or value else "empty"


def table(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return a Markdown table of an object's properties."""
    rows = ["| Key | Type | Default | What it is |", "|:--|:--|:--|:--|"]
    for name, one in schema.get("properties", {}).items():
        text = str(one.get("description", "")).replace("|", "\\|").replace("\n", " ")
        is_required = name in schema.get("required", [])
        cells = (f"`{name}`", kind(one, definitions).replace("|", "\\|"), default(one, is_required), text)
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def page(title: str, intro: str, schema: Mapping[str, Any]) -> str:
    """Return a page with a section for every object of a schema."""
    definitions = schema.get("$defs", {})
    parts = [f"# {title}", intro, table(schema, definitions)]
    for name, one in definitions.items():
        if "properties" in one:
            about = str(one.get("description", "")).split("\n\n")[0].replace("\n", " ")
            parts += [f"## {name}", about, table(one, definitions)]
    return "\n\n".join(parts) + "\n"


PAGES = {
    "reference/gate-yml.md": page(
        "gate.yml",
        "Made from the code. An unknown or misspelt key is an error that names the key, its line and the nearest valid "
        "one. `gate schema` prints the JSON Schema for your editor; relative paths start at the file's folder.",
        GateConfig.model_json_schema(by_alias=True),
    ),
    "reference/result.md": page(
        "result.json",
        "Made from the code. Proportions, never per cent; p-values unrounded; a drop is positive where the candidate "
        "is worse. `gate schema --result` prints the JSON Schema.",
        Result.model_json_schema(by_alias=True),
    ),
}
for path, text in PAGES.items():
    with mkdocs_gen_files.open(path, "w") as file:
        file.write(text)
