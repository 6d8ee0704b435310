"""Commands import only what they need, and exit with the documented code. Their speed: benchmarks/startup.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import imported_packages, run_gate, run_python

import gate
from gate.common.workflow_commands import disarm
from gate.report.candidates import any_to_json


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Samples of a baseline with every item correct, and of a candidate with none."""
    paths = []
    for name, correct in (("a", 1), ("b", 0)):
        rows = "".join(f"arc,i{number},x,y,{correct}\n" for number in range(50))
        paths.append(tmp_path / f"{name}.csv")
        paths[-1].write_text("task,item_id,output,target,correct\n" + rows)
    return paths


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"]], ids=" ".join)
def test_help_imports_no_heavy_package(arguments: list[str]) -> None:
    code, packages = imported_packages(*arguments)
    assert code == 0
    assert "gate" in packages
    heavy = {"torch", "transformers", "scipy", "numpy", "pyarrow", "pandas", "pydantic", "lm_eval"}
    assert not heavy & packages


def test_compare_imports_no_model_library(files: list[Path]) -> None:
    code, packages = imported_packages("compare", *files)
    assert code == 1
    assert "pyarrow" in packages
    assert not {"torch", "transformers", "accelerate", "safetensors", "lm_eval", "pandas"} & packages


def test_plan_imports_no_model_library() -> None:
    code, packages = imported_packages("plan", "--n", 100, "--flip-rate", 0.1)
    assert code == 0
    assert not {"torch", "transformers", "lm_eval", "pandas"} & packages


@pytest.mark.parametrize("output", ["terminal", "json"])
@pytest.mark.parametrize(("worse", "code"), [(True, 1), (False, 4)], ids=["FAIL", "PASS"])
def test_a_closed_standard_output_is_no_pass(files: list[Path], output: str, worse: bool, code: int) -> None:
    """Exit code 1 means degradation, so `gate compare A B | head -1` exits with it only then."""
    if not worse:
        rows = "".join(f"arc,i{number},z,y,{int(number > 0)}\n" for number in range(50))
        files[1].write_text("task,item_id,output,target,correct\n" + rows)
    options = ["--json", "-"] if output == "json" else []
    reader, writer = os.pipe()
    os.close(reader)
    try:
        process = subprocess.run(
            [sys.executable, "-m", "gate", "compare", *files, *options],
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    assert process.returncode == code, process.stderr
    assert b"this is a bug" not in process.stderr


_HOSTILE_TEXT = """
import importlib, logging, sys
module = importlib.import_module("gate.cli.main")
text = "\\n::add-mask::x\\n\\r##[error]x ::set-env::"
def broken(**_):
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("some.library").warning("it said %s", text, exc_info=True)
    raise ValueError(text)
if sys.argv[1] == "bug":
    module.cli.main = broken
    module.main([])
module.main(["compare", text, f"--{text}"])
"""


@pytest.mark.parametrize(("kind", "exit_code", "message"), [("bug", 4, "ValueError"), ("usage", 2, "No such option")])
def test_text_in_logs_and_errors_is_not_a_workflow_command(kind: str, exit_code: int, message: str) -> None:
    code, out, err = run_python(_HOSTILE_TEXT, kind)
    assert code == exit_code, err
    assert message in err
    assert ": :add-mask: :x" in err
    assert "::" not in err + out
    assert "##[" not in err + out


def test_disarmed_text_keeps_its_lines() -> None:
    assert disarm("a: b\n:::c\n  ##[group]") == "a: b\n  : : :c\n  # #[group]"


def test_json_on_standard_output_holds_no_workflow_command(tmp_path: Path) -> None:
    text = "##[error]pwned"
    for name, right in (("a", 30), ("b", 5)):
        rows = [f"faq,{item},{text if item >= right else 'x'},x,{int(item < right)}" for item in range(40)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["task,item_id,output,target,correct", *rows]) + "\n")
    _, out, _ = run_gate("compare", tmp_path / "a.csv", tmp_path / "b.csv", "--json", "-")
    assert "##[" not in out
    assert any(flip["candidate"] == text for flip in json.loads(out)["flips"])
    assert "##[" not in any_to_json(gate.compare_candidates(tmp_path / "a.csv", {"x": tmp_path / "b.csv"}))
