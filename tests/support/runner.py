"""GitHub's runner: the environment of a step, and how its output file is read."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAYLOADS = ROOT / "tests" / "github" / "payloads"
"""GitHub's example events."""


def as_runner(**inputs: str) -> dict[str, str]:
    """Return the environment of a step: the defaults of action.yml, overridden by the given inputs.

    The runner converts names to upper case and spaces to underscores, keeps dashes, and also passes unknown names.
    """
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    given = {name: entry["default"] for name, entry in action["inputs"].items()}
    given["github-token"] = "ghs_default"
    given |= {name.replace("_", "-"): text for name, text in inputs.items()}
    return {f"INPUT_{name.replace(' ', '_').upper()}": text for name, text in given.items()}


def read_outputs(path: Path) -> dict[str, str]:
    """Parse GITHUB_OUTPUT by the runner's rules: NAME<<DELIMITER, lines, DELIMITER; or NAME=VALUE."""
    lines = path.read_bytes().decode("utf-8").split("\n")
    outputs: dict[str, str] = {}
    position = 0
    while position < len(lines):
        line = lines[position].removesuffix("\r")
        position += 1
        if not line:
            continue
        heredoc, equals = line.find("<<"), line.find("=")
        if heredoc >= 0 and (equals < 0 or heredoc < equals):
            name, delimiter = line.split("<<", 1)
            value = []
            while lines[position].removesuffix("\r") != delimiter:
                value.append(lines[position])
                position += 1
            position += 1
            outputs[name] = "\n".join(value)
        else:
            name, text = line.split("=", 1)
            outputs[name] = text
    return outputs
