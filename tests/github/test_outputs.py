"""Outputs, parsed as the runner parses them: no value can set another output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.results import example
from support.runner import read_outputs

from gate.config import parse_config
from gate.errors import ConfigError, ExitCode
from gate.github.outputs import OUTPUTS, error_outputs, verdict_outputs, workspace_path, write_outputs
from gate.report.candidates import join_results


def test_outputs_are_read_back_as_written(tmp_path: Path) -> None:
    file = tmp_path / "output"
    file.write_text("other=1\n")
    write_outputs({"GITHUB_OUTPUT": str(file)}, error_outputs(ExitCode.EVALUATION))
    write_outputs({"GITHUB_OUTPUT": str(file)}, {"comment-url": "https://github.com/o/r/pull/1#issuecomment-2"})
    outputs = read_outputs(file)
    assert outputs["other"] == "1"
    assert (outputs["verdict"], outputs["p-value"], outputs["exit-code"]) == ("ERROR", "", "4")
    assert set(outputs) - {"other"} == set(OUTPUTS)


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
    assert len(set(delimiters)) == len(delimiters) == len(OUTPUTS) - 1


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


def test_numbers_are_outputs_of_their_own_and_parts_of_the_json(tmp_path: Path) -> None:
    text = "{version: 1, baseline: {model: a}, candidate: {model: b}, tasks: [arc]}"
    result = example("FAIL")
    outputs = verdict_outputs(result, 1, parse_config(text, tmp_path / "gate.yml"), {})
    assert float(outputs["drop"]) == result.drop
    assert int(outputs["n"]) == 820
    assert int(outputs["flips"]) == sum(task.regressions + task.improvements for task in result.tasks)
    assert float(outputs["detectable-drop"]) == result.sensitivity.detectable_drop
    assert outputs["noise-floor"] == ""  # there was no control
    data = json.loads(outputs["json"])
    assert (data["verdict"], data["exit_code"], data["n"], data["noise_floor"]) == ("FAIL", 1, 820, None)
    assert data["p_value"] == result.p_value
    (one,) = data["candidates"]
    assert (one["name"], one["drop"]) == ("candidate", result.drop)


def test_several_candidates_have_their_numbers_in_the_json(tmp_path: Path) -> None:
    text = "{version: 1, baseline: {model: a}, candidate: {model: b}, tasks: [arc]}"
    result = join_results({"good": example("PASS"), "bad": example("FAIL")}, {"lost": ConfigError("no such folder")})
    outputs = verdict_outputs(result, 4, parse_config(text, tmp_path / "gate.yml"), {})
    assert [outputs[name] for name in ("drop", "n", "flips", "detectable-drop", "noise-floor")] == [""] * 5
    found = {one["name"]: (one["verdict"], one["n"]) for one in json.loads(outputs["json"])["candidates"]}
    assert found == {"good": ("PASS", 820), "bad": ("FAIL", 820), "lost": ("ERROR", None)}
    assert [set(one) for one in json.loads(outputs["candidates"])] == [{"name", "verdict", "p_value"}] * 3
