"""Print every direct requirement of pyproject.toml at its lower bound, for the CI job with the lowest versions.

Usage: python scripts/lowest-requirements.py [EXTRA ...]
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(__file__).parent.parent.joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]


def requirements(names: list[str]) -> list[str]:
    """Return the base requirements and those of some extras, with extras of quantgate itself resolved."""
    lines = list(project["dependencies"])
    for name in names:
        for line in extras[name]:
            own = re.fullmatch(r"quantgate\[([\w,-]+)\]", line)
            lines += requirements(own[1].split(","))[len(project["dependencies"]) :] if own else [line]
    return lines


for line in dict.fromkeys(requirements(sys.argv[1:])):
    print(line.replace(">=", "=="))
