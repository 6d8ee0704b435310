"""Annotations on the lines of gate.yml, job summary and commit status, all within GitHub's limits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.results import example, many_tasks

from gate.github.annotations import annotation, group, path_in_repository, verdict_annotations
from gate.github.effective import effective_config
from gate.github.inputs import Inputs
from gate.github.status import check_status_context, status_description
from gate.github.summary import SUMMARY_LIMIT, append_summary

GATE_YML = """\
version: 1
baseline: {model: a}
candidate: {model: b}
tasks:
  - name: addition
    file: a.jsonl
    prompt: "{{ q }}"
    choices: "{{ c }}"
    answer: "{{ a }}"
  - {name: multiplication, file: m.jsonl, prompt: "{{ q }}", choices: "{{ c }}", answer: "{{ a }}"}
"""


def test_annotations_point_to_the_task_in_gate_yml(tmp_path: Path) -> None:
    (tmp_path / "gate.yml").write_text(GATE_YML, encoding="utf-8")
    lines = effective_config(Inputs(), [], tmp_path).task_lines
    assert lines == {"addition": 5, "multiplication": 10}
    commands = verdict_annotations(example("FAIL"), "gate.yml", lines)
    assert commands[1].startswith("::error file=gate.yml,line=5,title=quantgate%3A addition is worse::")


def test_each_verdict_has_its_level() -> None:
    commands = {
        verdict: verdict_annotations(example(verdict), None, {}) for verdict in ("PASS", "FAIL", "INCONCLUSIVE")
    }
    assert commands["PASS"][0].startswith("::notice title=quantgate%3A PASS::No significant drop")
    assert commands["INCONCLUSIVE"][0].startswith("::error title=quantgate%3A INCONCLUSIVE::")  # exit code 3
    passing = example("INCONCLUSIVE").model_copy(update={"exit_code": 0})
    assert verdict_annotations(passing, None, {})[0].startswith("::warning title=quantgate%3A INCONCLUSIVE::")
    assert all(command.startswith("::error title=") for command in commands["FAIL"])
    assert [len(commands[verdict]) for verdict in ("PASS", "INCONCLUSIVE", "FAIL")] == [1, 1, 2]


@pytest.mark.parametrize(("tasks", "worse"), [(27, 9), (30, 10), (300, 100)])
def test_at_most_ten_annotations_and_the_rest_is_counted(tasks: int, worse: int) -> None:
    commands = verdict_annotations(many_tasks(tasks), "gate.yml", {})
    assert len(commands) == min(10, worse + 1)
    if worse > 9:
        assert f"{worse - 8} more tasks are worse" in commands[-1]


def test_task_that_is_not_in_gate_yml_has_no_file() -> None:
    assert "file=" not in verdict_annotations(example("FAIL"), "gate.yml", {})[1]


def test_messages_and_properties_are_escaped_for_the_runner() -> None:
    text = annotation("error", "100 % of a,b: c\r\n::set-output name=x::y", "t: a,b\n::error::", "a,b:c%.yml", 3)
    assert text.count("\n") == 0
    command, _, data = text.removeprefix("::").partition("::")
    assert command == "error file=a%2Cb%3Ac%25.yml,line=3,title=t%3A a%2Cb %3A %3Aerror%3A %3A"
    assert data == "100 %25 of a,b: c : :set-output name=x: :y"


def test_paths_are_relative_to_the_root_of_the_repository(tmp_path: Path) -> None:
    assert path_in_repository(tmp_path / "ci" / "gate.yml", tmp_path) == "ci/gate.yml"
    assert path_in_repository(Path("/elsewhere/gate.yml"), tmp_path) is None
    assert path_in_repository(None, tmp_path) is None


def test_group_ends_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), group("baseline\n::error::x"):
        raise ZeroDivisionError
    assert capsys.readouterr().out == "::group::baseline : :error: :x\n::endgroup::\n"


def test_summary_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("## Build", encoding="utf-8")
    assert append_summary(path, example("PASS"))
    text = path.read_text(encoding="utf-8")
    assert text.startswith("## Build\n## ✅ quantgate: PASS")
    assert append_summary(tmp_path / "new.md", example("PASS"))


@pytest.mark.parametrize("used", [0, 900_000, SUMMARY_LIMIT - 20_000])
def test_summary_never_exceeds_githubs_limit(tmp_path: Path, used: int) -> None:
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * used)
    assert append_summary(path, many_tasks(3_000, text="äöü<&@#" * 20), None, "https://github.com/o/r/actions/runs/1")
    assert SUMMARY_LIMIT - 2_000 < path.stat().st_size <= SUMMARY_LIMIT
    assert "omitted" in path.read_text(encoding="utf-8")


def test_full_summary_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * SUMMARY_LIMIT)
    assert not append_summary(path, example("PASS"))
    assert path.stat().st_size == SUMMARY_LIMIT


def test_status_contains_no_text_from_models_or_tasks() -> None:
    for result in (
        example("PASS"),
        example("FAIL"),
        example("INCONCLUSIVE"),
        many_tasks(3_000, text="@octocat"),
    ):
        text = status_description(result)
        assert len(text) <= 140
        assert re.fullmatch(
            r"(PASS|FAIL|INCONCLUSIVE): [0-9,]+ tasks, [0-9,]+ paired items, p [=≤] [-0-9.e]+(, \d+ worse on (its|their) own)?",
            text,
        )


def test_status_context_is_one_visible_line() -> None:
    assert check_status_context(" quantgate / nightly ") == "quantgate / nightly"
