"""Commands import only what they need, and exit with the documented code. Their speed: benchmarks/startup.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gate.workflow_commands import disarm

_LIST_MODULES = """
import sys
from gate.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print("loaded:", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def loaded(*arguments: str) -> tuple[int, set[str]]:
    """Exit code, and the top-level packages that a command imports."""
    done = subprocess.run(
        [sys.executable, "-c", _LIST_MODULES, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, set(done.stderr.rpartition("loaded:")[2].split())


def files(folder: Path) -> list[str]:
    paths = []
    for name, right in (("a", "1"), ("b", "0")):
        rows = "".join(f"arc,i{number},x,y,{right}\n" for number in range(50))
        (folder / f"{name}.csv").write_text("task,item_id,output,target,correct\n" + rows)
        paths.append(str(folder / f"{name}.csv"))
    return paths


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"]], ids=" ".join)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code, modules = loaded(*arguments)
    assert code == 0
    assert "gate" in modules
    assert (
        not {"torch", "transformers", "scipy", "numpy", "pyarrow", "pandas", "pydantic", "lm_eval"} & modules
    )


def test_compare_on_files_needs_no_model_library(tmp_path: Path) -> None:
    code, modules = loaded("compare", *files(tmp_path))
    assert code == 1
    assert "pyarrow" in modules
    assert not {"torch", "transformers", "accelerate", "safetensors", "lm_eval", "pandas"} & modules


def test_plan_needs_no_model_library() -> None:
    code, modules = loaded("plan", "--n", "100", "--flip-rate", "0.1")
    assert code == 0
    assert not {"torch", "transformers", "lm_eval", "pandas"} & modules


@pytest.mark.parametrize("output", ["terminal", "json"])
def test_a_reader_that_goes_away_is_no_verdict(tmp_path: Path, output: str) -> None:
    """Exit code 1 means degradation; `gate compare A B | head -1` must not say so."""
    options = ["--json", "-"] if output == "json" else []
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "gate", "compare", *files(tmp_path), *options],
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.returncode == 4, done.stderr


_FOREIGN = """
import importlib, logging, sys
line = importlib.import_module("gate.cli.main")
text = "\\n::add-mask::x\\n\\r##[error]x ::set-env::"
def broken(**_):
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("some.library").warning("it said %s", text, exc_info=True)
    raise ValueError(text)
if sys.argv[1] == "bug":
    line.cli.main = broken
    line.main([])
line.main(["compare", text, f"--{text}"])
"""


@pytest.mark.parametrize(("kind", "code", "said"), [("bug", 4, "ValueError"), ("usage", 2, "No such option")])
def test_no_foreign_text_is_a_command_to_the_workflow_runner(kind: str, code: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FOREIGN, kind], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert ": :add-mask: :x" in done.stderr
    assert "::" not in done.stderr + done.stdout
    assert "##[" not in done.stderr + done.stdout


def test_disarmed_text_keeps_its_lines() -> None:
    assert disarm("a: b\n:::c\n  ##[group]") == "a: b\n: : :c\n  # #[group]"
