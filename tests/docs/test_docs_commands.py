"""Every command block of README and docs is run, page by page; every gate.yml in them is loaded."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gate.config import parse_config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
FENCE = re.compile(r'^( *)```(\w+)(?: title="([^"]+)")?\n(.*?)^\1```$', re.MULTILINE | re.DOTALL)
# these two are what CI itself runs, around this very test
BY_CI = {"make demo", "make test"}


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Language, title and text of each block."""
    return [
        (found[2], found[3] or "", found[4]) for found in FENCE.finditer(page.read_text(encoding="utf-8"))
    ]


def is_run(page: Path) -> bool:
    return any(language == "sh" for language, _, _ in blocks(page))


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if is_run(page)], ids=name)
def test_the_commands_of_a_page_work_one_after_the_other(page: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    ran = 0
    for language, title, text in blocks(page):
        if title and not title.startswith("."):
            (tmp_path / title).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / title).write_text(text, encoding="utf-8")
        commands = "".join(
            line for line in text.splitlines(keepends=True) if line.split("#")[0].strip() not in BY_CI
        )
        if language != "sh" or not commands.strip():
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        ran += 1
        # a shell that ends with a verdict's code did not fail: FAIL is 1
        assert done.returncode == 0, (
            f"{name(page)}:\n{commands}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
    assert ran or page.name in ("README.md", "CONTRIBUTING.md")


def configs() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for number, (language, _, text) in enumerate(blocks(page)):
            if language == "yaml" and re.search(r"^version: 1$", text, re.MULTILINE):
                found.append((f"{name(page)}#{number}", text))
    return found


@pytest.mark.parametrize(("where", "text"), configs(), ids=[where for where, _ in configs()])
def test_every_gate_yml_is_valid(where: str, text: str) -> None:
    parse_config(text, Path("gate.yml"))


def test_the_pages_are_found() -> None:
    assert len(configs()) >= 5
    assert sum(map(is_run, PAGES)) >= 5


def test_every_page_is_in_the_navigation_and_every_link_leads_somewhere() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    named = set(re.findall(r"[\w/-]+\.md", str(site["nav"])))
    made = {"reference/gate-yml.md", "reference/result.md"}
    there = {name(page).removeprefix("docs/") for page in PAGES if page.parent != ROOT}
    assert {page for page in there if not page.startswith("examples/")} | made == named
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8")):
            if "://" not in target and f"docs/{target}" not in made:
                assert (page.parent / target).resolve().exists() or target.endswith(tuple(made)), (
                    page,
                    target,
                )
