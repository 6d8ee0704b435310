"""Outputs, parsed as the runner parses them: no value can set another output."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.results import example
from support.runner import read_outputs

from gate.config import parse_config
from gate.errors import ExitCode
from gate.github.outputs import NAMES, error_outputs, verdict_outputs, workspace_path, write_outputs

ROOT = Path(__file__).resolve().parents[2]


def test_outputs_are_read_back_as_written(tmp_path: Path) -> None:
    file = tmp_path / "output"
    file.write_text("other=1\n")
    write_outputs({"GITHUB_OUTPUT": str(file)}, error_outputs(ExitCode.EVALUATION))
    write_outputs({"GITHUB_OUTPUT": str(file)}, {"comment-url": "https://github.com/o/r/pull/1#issuecomment-2"})
    outputs = read_outputs(file)
    assert outputs["other"] == "1"
    assert (outputs["verdict"], outputs["p-value"], outputs["exit-code"]) == ("ERROR", "", "4")
    assert set(outputs) - {"other"} == set(NAMES)


@pytest.mark.parametrize(
    "value",
    [
        "a\nverdict=PASS\n",
        "x\nverdict<<E\nPASS\nE\n",
        "EOF\nverdict=PASS",
        "\n",
        "a\r\nverdict=PASS",
        "é\ud800",
    ],
)
def test_no_value_sets_another_output(tmp_path: Path, value: str) -> None:
    file = tmp_path / "output"
    write_outputs({"GITHUB_OUTPUT": str(file)}, {"report-path": value})
    assert set(read_outputs(file)) == {"report-path"}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_preserved(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    file = tmp_path_factory.mktemp("o") / "output"
    write_outputs({"GITHUB_OUTPUT": str(file)}, {"report-path": value, "verdict": "FAIL"})
    assert read_outputs(file) == {"report-path": value, "verdict": "FAIL"}


def test_delimiters_differ_for_each_value(tmp_path: Path) -> None:
    file = tmp_path / "output"
    write_outputs({"GITHUB_OUTPUT": str(file)}, error_outputs(ExitCode.USAGE))
    delimiters = [line.split("<<")[1] for line in file.read_text().splitlines() if "<<" in line]
    assert len(set(delimiters)) == len(delimiters) == 6


def test_nothing_is_written_without_the_runners_file() -> None:
    write_outputs({}, {"verdict": "PASS"})
    write_outputs({"GITHUB_OUTPUT": ""}, {"verdict": "PASS"})


def test_unknown_output_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such output: verdikt"):
        write_outputs({"GITHUB_OUTPUT": str(tmp_path / "o")}, {"verdikt": "PASS"})


def test_paths_are_relative_to_the_workspace(tmp_path: Path) -> None:
    environment = {"GITHUB_WORKSPACE": str(tmp_path)}
    assert workspace_path(tmp_path / "ci" / ".." / "r.md", environment) == Path("r.md")
    assert workspace_path(Path("/elsewhere/r.md"), environment) == Path("/elsewhere/r.md")
    assert workspace_path(Path("r.md"), {}) == Path("r.md")


def test_the_path_of_a_file_that_is_not_written_is_empty(tmp_path: Path) -> None:
    text = "{version: 1, baseline: {model: a}, candidate: {model: b}, tasks: [arc], report: {markdown: null}}"
    loaded = parse_config(text, tmp_path / "gate.yml")
    outputs = verdict_outputs(example("FAIL"), 1, loaded, {"GITHUB_WORKSPACE": str(tmp_path)})
    assert outputs["result-path"] == "gate-result.json"
    assert outputs["report-path"] == ""
    failed = verdict_outputs(example("PASS"), 4, loaded, {}, ["gate-result.json"])
    assert (failed["result-path"], failed["verdict"], failed["exit-code"]) == ("", "PASS", "4")


def test_action_yml_and_the_documentation_have_the_same_outputs() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert tuple(action["outputs"]) == NAMES
    text = (ROOT / "docs/action.md").read_text(encoding="utf-8")
    for name, entry in action["outputs"].items():
        assert f"| `{name}` | {entry['description']} |" in text
