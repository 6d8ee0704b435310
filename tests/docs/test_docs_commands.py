"""The commands and Python examples of README and docs are run, page by page; every gate.yml in them is validated."""

from __future__ import annotations

import doctest
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from support.tiny import write_tiny_model

from gate.config import parse_config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
FENCE = re.compile(r'^( *)```(\w+)(?: title="([^"]+)")?\n(.*?)^\1```$', re.MULTILINE | re.DOTALL)
# CI runs these itself, and the tests with them
BY_CI = {"make demo", "make test"}
DOCTEST_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SAMPLES = "task,item_id,output,target,correct\nfaq,1,A,A,1\nfaq,2,B,B,1\n"


class Block(NamedTuple):
    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(match[2], match[3] or "", match[4]) for match in FENCE.finditer(text)]


def has(page: Path, language: str) -> bool:
    return any(block.language == language for block in blocks(page))


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def write_file(block: Block, folder: Path) -> None:
    """Write a block with a title to the file of that name, except workflows in `.github`."""
    if block.title and not block.title.startswith("."):
        path = folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")


# the tutorial runs the whole demo, which a test in tests/demo does too
_PAGES_WITH_COMMANDS = [
    pytest.param(page, marks=pytest.mark.exhaustive) if name(page) == "docs/tutorial.md" else page
    for page in PAGES
    if has(page, "sh")
]


@pytest.mark.slow
@pytest.mark.parametrize("page", _PAGES_WITH_COMMANDS, ids=name)
def test_the_commands_of_a_page_work_one_after_the_other(page: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    count = 0
    for block in blocks(page):
        write_file(block, tmp_path)
        commands = "".join(
            line for line in block.text.splitlines(keepends=True) if line.split("#")[0].strip() not in BY_CI
        )
        if block.language != "sh" or not commands.strip():
            continue
        process = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        count += 1
        assert process.returncode == 0, f"{name(page)}:\n{commands}\n{process.stdout[-3000:]}\n{process.stderr[-3000:]}"
    assert count or page.name == "README.md"


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if has(page, "python")], ids=name)
def test_the_python_examples_of_a_page_print_what_it_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for side in ("baseline", "candidate", "int8", "int4"):
        (tmp_path / f"{side}.csv").write_text(SAMPLES, encoding="utf-8")
    session: dict[str, object] = {}
    runner = doctest.DocTestRunner(verbose=False, optionflags=DOCTEST_FLAGS)
    for number, block in enumerate(blocks(page)):
        write_file(block, tmp_path)
        if block.title == "gate.yml":
            for side in ("baseline", "candidate"):
                write_tiny_model(tmp_path / "models" / side)
        if block.language != "python":
            continue
        where = f"{name(page)}#{number}"
        if ">>>" in block.text:
            example = doctest.DocTestParser().get_doctest(block.text, session, where, str(page), 0)
            runner.run(example, clear_globs=False)
            session = example.globs
            assert runner.summarize(verbose=False).failed == 0, capsys.readouterr().out
        else:
            exec(compile(block.text, where, "exec"), session)


def configs() -> list[tuple[str, str]]:
    return [
        (f"{name(page)}#{number}", block.text)
        for page in PAGES
        for number, block in enumerate(blocks(page))
        if block.language == "yaml" and re.search(r"^version: 1$", block.text, re.MULTILINE)
    ]


@pytest.mark.parametrize(("where", "text"), configs(), ids=[where for where, _ in configs()])
def test_every_gate_yml_is_valid(where: str, text: str) -> None:
    parse_config(text, Path("gate.yml"))


def test_the_pages_have_blocks_to_check() -> None:
    assert len(configs()) >= 5
    assert sum(has(page, "sh") for page in PAGES) >= 5
    assert sum(has(page, "python") for page in PAGES) >= 3


def test_the_reference_pages_show_types_defaults_and_descriptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = pytest.importorskip("mkdocs_gen_files")  # of the extra `docs`
    (tmp_path / "reference").mkdir()
    monkeypatch.setattr(generator, "open", lambda path, mode: (tmp_path / path).open(mode))
    runpy.run_path(str(ROOT / "docs" / "generate.py"))
    text = (tmp_path / "reference" / "gate-yml.md").read_text()
    assert "\n| `margin` | number | `0.0` | Tolerated drop" in text
    assert "\n| `fewshot` | integer | `0` | " in text
    assert "\n| `kl` | boolean | `true` | " in text
    assert "\n| `certify` | number or null | `null` | " in text
    assert "\n| `decision` | [DecisionSettings](#decisionsettings) |  | When the verdict is FAIL. |" in text


def test_every_page_is_in_the_navigation_and_every_link_has_a_target() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    in_navigation = set(re.findall(r"[\w/-]+\.md", str(site["nav"])))
    generated = {"reference/gate-yml.md", "reference/result.md", "reference/candidates.md", "reference/formats.md"}
    written = {name(page).removeprefix("docs/") for page in PAGES if page.parent != ROOT}
    assert {page for page in written if not page.startswith("examples/")} | generated == in_navigation
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8")):
            if "://" not in target and f"docs/{target}" not in generated:
                assert (page.parent / target).resolve().exists() or target.endswith(tuple(generated)), (
                    page,
                    target,
                )
