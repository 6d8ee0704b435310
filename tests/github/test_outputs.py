"""Outputs, read back as the runner reads them: no value can set another output."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import ExitCode
from gate.github.outputs import NAMES, as_seen_outside, error_outputs, write_outputs

ROOT = Path(__file__).resolve().parents[2]


def read_back(path: Path) -> dict[str, str]:
    """Parse GITHUB_OUTPUT by the runner's rules: NAME<<MARK, lines, MARK; or NAME=VALUE."""
    lines = path.read_bytes().decode("utf-8").split("\n")
    found: dict[str, str] = {}
    position = 0
    while position < len(lines):
        line = lines[position].removesuffix("\r")
        position += 1
        if not line:
            continue
        heredoc, equals = line.find("<<"), line.find("=")
        if heredoc >= 0 and (equals < 0 or heredoc < equals):
            name, mark = line.split("<<", 1)
            value = []
            while lines[position].removesuffix("\r") != mark:
                value.append(lines[position])
                position += 1
            position += 1
            found[name] = "\n".join(value)
        else:
            name, value_ = line.split("=", 1)
            found[name] = value_
    return found


def test_outputs_are_read_back_as_written(tmp_path: Path) -> None:
    file = tmp_path / "output"
    file.write_text("other=1\n")
    write_outputs({"GITHUB_OUTPUT": str(file)}, error_outputs(ExitCode.EVALUATION))
    write_outputs(
        {"GITHUB_OUTPUT": str(file)}, {"comment-url": "https://github.com/o/r/pull/1#issuecomment-2"}
    )
    found = read_back(file)
    assert found["other"] == "1"
    assert (found["verdict"], found["p-value"], found["exit-code"]) == ("ERROR", "", "4")
    assert set(found) - {"other"} == set(NAMES)


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
    assert set(read_back(file)) == {"report-path"}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    file = tmp_path_factory.mktemp("o") / "output"
    write_outputs({"GITHUB_OUTPUT": str(file)}, {"report-path": value, "verdict": "FAIL"})
    assert read_back(file) == {"report-path": value, "verdict": "FAIL"}


def test_marks_differ_from_value_to_value(tmp_path: Path) -> None:
    file = tmp_path / "output"
    write_outputs({"GITHUB_OUTPUT": str(file)}, error_outputs(ExitCode.USAGE))
    marks = [line.split("<<")[1] for line in file.read_text().splitlines() if "<<" in line]
    assert len(set(marks)) == len(marks) == 5


def test_without_the_runners_file_nothing_is_written() -> None:
    write_outputs({}, {"verdict": "PASS"})
    write_outputs({"GITHUB_OUTPUT": ""}, {"verdict": "PASS"})


def test_a_name_that_action_yml_lacks_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such output: verdikt"):
        write_outputs({"GITHUB_OUTPUT": str(tmp_path / "o")}, {"verdikt": "PASS"})


def test_paths_are_those_of_the_next_steps(tmp_path: Path) -> None:
    environment = {"GITHUB_WORKSPACE": str(tmp_path)}
    assert as_seen_outside(tmp_path / "ci" / ".." / "r.md", environment) == Path("r.md")
    assert as_seen_outside(Path("/elsewhere/r.md"), environment) == Path("/elsewhere/r.md")
    assert as_seen_outside(Path("r.md"), {}) == Path("r.md")


def test_action_yml_and_the_documentation_have_these_outputs() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert tuple(action["outputs"]) == NAMES
    text = (ROOT / "docs/action.md").read_text(encoding="utf-8")
    for name, entry in action["outputs"].items():
        assert f"| `{name}` | {entry['description']} |" in text
