"""Writes the inputs and outputs of `gate action` into every file that repeats them.

    python scripts/action_files.py

The declarations are in gate/github/inputs.py and gate/github/outputs.py. The files are the Docker action, the composite
action for runners without Docker, the reusable workflow, and the page of the documentation. A test compares them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic.fields import FieldInfo

from gate.github.given import variables_of
from gate.github.inputs import UNSET, extra_of, input_fields
from gate.github.outputs import OUTPUTS

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "${{ github.token }}"  # noqa: S105 - an expression


def default_of(name: str, field: FieldInfo) -> str:
    """Return the default of an input in an action."""
    if name == "github-token":
        return TOKEN
    if extra_of(field, "empty"):
        return ""
    if field.default is None:
        return UNSET
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def description_of(field: FieldInfo) -> str:
    """Return the description of an input, with the key of gate.yml that it overrides."""
    key = extra_of(field, "key")
    text = (field.description or "").replace("`", "")
    return f"{text} Overrides {key} in gate.yml." if key else text


def folded(text: str, indent: int) -> Iterator[str]:
    """Yield the lines of a folded YAML scalar."""
    yield f"{' ' * (indent - 2)}description: >-"
    space = " " * indent
    yield from textwrap.wrap(text, 118, initial_indent=space, subsequent_indent=space, break_on_hyphens=False)


def quoted(text: str) -> str:
    """Return a YAML scalar that is always a string."""
    if text.startswith("${{") or (text.replace("-", "").isalpha() and text not in ("true", "false")):
        return text
    return f'"{text}"'


def action_inputs() -> Iterator[str]:
    """Yield the inputs of an action."""
    for name, field in input_fields().items():
        yield f"  {name}:"
        yield from folded(description_of(field), 6)
        yield "    required: false"
        yield f"    default: {quoted(default_of(name, field))}"


def action_outputs(value: str = "") -> Iterator[str]:
    """Yield the outputs of an action; `value` is an expression in which NAME is the output."""
    for name, text in OUTPUTS.items():
        yield f"  {name}:"
        yield from folded(text, 6)
        if value:
            yield f"    value: {value.replace('NAME', name)}"


def composite_outputs() -> Iterator[str]:
    """Yield the outputs of the composite action."""
    return action_outputs("${{ steps.gate.outputs.NAME }}")


def variables(indent: int) -> Iterator[str]:
    """Yield the environment of a step that runs `gate action`, with a variable per input."""
    for name in input_fields():
        expression = TOKEN if name == "github-token" and indent == 10 else f"${{{{ inputs.{name} }}}}"
        yield f"{' ' * indent}{variables_of(name)[1]}: {expression}"


def workflow_inputs() -> Iterator[str]:
    """Yield the inputs of the reusable workflow. Its token is the caller's own, so there is no input for it."""
    for name, field in input_fields().items():
        if name == "github-token":
            continue
        yield f"      {name}:"
        yield from folded(description_of(field), 10)
        yield "        type: string"
        yield f"        default: {quoted(default_of(name, field))}"


def workflow_outputs() -> Iterator[str]:
    """Yield the outputs of the reusable workflow."""
    for name, text in OUTPUTS.items():
        yield f"      {name}:"
        yield from folded(text, 10)
        yield f"        value: ${{{{ jobs.gate.outputs.{name} }}}}"


def job_outputs() -> Iterator[str]:
    """Yield the outputs of the job in the reusable workflow."""
    return (f"      {name}: ${{{{ steps.gate.outputs.{name} }}}}" for name in OUTPUTS)


def input_table() -> Iterator[str]:
    """Yield the rows of the inputs in the documentation."""
    yield "| Input | Default | gate.yml | Description |"
    yield "|:--|:--|:--|:--|"
    for name, field in input_fields().items():
        default, key = default_of(name, field), extra_of(field, "key")
        shown = "" if default in ("", UNSET) else f"`{default}`"
        yield f"| `{name}` | {shown} | {f'`{key}`' if key else ''} | {field.description} |"


def output_table() -> Iterator[str]:
    """Yield the rows of the outputs in the documentation."""
    yield "| Output | Description |"
    yield "|:--|:--|"
    yield from (f"| `{name}` | {text} |" for name, text in OUTPUTS.items())


Lines = Callable[[], Iterator[str]]
FILES: dict[str, dict[str, Lines]] = {
    "action.yml": {"inputs": action_inputs, "outputs": action_outputs},
    "bare/action.yml": {
        "inputs": action_inputs,
        "outputs": composite_outputs,
        "variables": lambda: variables(8),
    },
    ".github/workflows/gate.yml": {
        "inputs": workflow_inputs,
        "outputs": workflow_outputs,
        "outputs of the job": job_outputs,
        "variables": lambda: variables(10),
    },
    "docs/action.md": {"inputs": input_table, "outputs": output_table},
}


def written(path: str, text: str) -> str:
    """Return the text of a file with its generated parts replaced.

    A part stands between two comments in the file's language: one ends with `NAME (scripts/action_files.py)`, the other
    with `end of NAME`.
    """
    for name, lines in FILES[path].items():
        rows = text.split("\n")
        (begin,) = [n for n, row in enumerate(rows) if row.rstrip(" ->").endswith(f" {name} (scripts/action_files.py)")]
        (end,) = [n for n, row in enumerate(rows) if row.rstrip(" ->").endswith(f" end of {name}")]
        text = "\n".join([*rows[: begin + 1], *lines(), *rows[end:]])
    return text


if __name__ == "__main__":
    for path in FILES:
        file = ROOT / path
        file.write_text(written(path, file.read_text(encoding="utf-8")), encoding="utf-8")
