"""Annotations on gate.yml's lines, within GitHub's limits; the job summary within its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.results import example, many_tasks

from gate.config import load_config
from gate.github import group, task_lines
from gate.github.annotations import annotation, annotations_of, relative_file
from gate.github.status import check_context, describe
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


def test_the_line_of_a_task_is_the_line_of_gate_yml(tmp_path: Path) -> None:
    path = tmp_path / "gate.yml"
    path.write_text(GATE_YML, encoding="utf-8")
    lines = task_lines(load_config(path))
    assert lines == {"addition": 5, "multiplication": 10}
    found = annotations_of(example("FAIL"), "gate.yml", lines)
    assert found[1].startswith("::error file=gate.yml,line=5,title=quantgate%3A addition is worse::")


def test_each_verdict_has_its_kind() -> None:
    kinds = {
        verdict: annotations_of(example(verdict), None, {}) for verdict in ("PASS", "FAIL", "INCONCLUSIVE")
    }
    assert kinds["PASS"][0].startswith("::notice title=quantgate%3A PASS::No significant drop")
    assert kinds["INCONCLUSIVE"][0].startswith("::warning title=quantgate%3A INCONCLUSIVE::")
    assert all(one.startswith("::error title=") for one in kinds["FAIL"])
    assert [len(kinds[verdict]) for verdict in ("PASS", "INCONCLUSIVE", "FAIL")] == [1, 1, 2]


@pytest.mark.parametrize(("tasks", "worse"), [(27, 9), (30, 10), (300, 100)])
def test_never_more_than_ten_and_the_rest_is_counted(tasks: int, worse: int) -> None:
    found = annotations_of(many_tasks(tasks), "gate.yml", {})
    assert len(found) == min(10, worse + 1)
    if worse > 9:
        assert f"{worse - 8} more tasks are worse" in found[-1]


def test_a_task_that_gate_yml_does_not_name_has_no_place() -> None:
    assert "file=" not in annotations_of(example("FAIL"), "gate.yml", {})[1]


def test_values_and_properties_are_escaped_as_the_runner_reads_them() -> None:
    text = annotation(
        "error", "100 % of a,b: c\r\n::set-output name=x::y", "t: a,b\n::error::", "a,b:c%.yml", 3
    )
    assert text.count("\n") == 0
    command, _, data = text.removeprefix("::").partition("::")
    assert command == "error file=a%2Cb%3Ac%25.yml,line=3,title=t%3A a%2Cb %3A %3Aerror%3A %3A"
    assert data == "100 %25 of a,b: c : :set-output name=x: :y"


def test_files_are_named_from_the_repositorys_root(tmp_path: Path) -> None:
    assert relative_file(tmp_path / "ci" / "gate.yml", tmp_path) == "ci/gate.yml"
    assert relative_file(Path("/elsewhere/gate.yml"), tmp_path) is None
    assert relative_file(None, tmp_path) is None


def test_groups_end_even_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), group("baseline\n::error::x"):
        raise ZeroDivisionError
    assert capsys.readouterr().out == "::group::baseline : :error: :x\n::endgroup::\n"


def test_a_summary_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("## Build", encoding="utf-8")
    assert append_summary(path, example("PASS"))
    text = path.read_text(encoding="utf-8")
    assert text.startswith("## Build\n## ✅ quantgate: PASS")
    assert append_summary(tmp_path / "new.md", example("PASS"))


@pytest.mark.parametrize("used", [0, 900_000, SUMMARY_LIMIT - 20_000])
def test_a_summary_never_passes_githubs_limit(tmp_path: Path, used: int) -> None:
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * used)
    assert append_summary(
        path, many_tasks(8_000, text="äöü<&@#" * 20), None, "https://github.com/o/r/actions/runs/1"
    )
    assert SUMMARY_LIMIT - 2_000 < path.stat().st_size <= SUMMARY_LIMIT
    assert "left out here" in path.read_text(encoding="utf-8")


def test_a_full_summary_is_said(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * SUMMARY_LIMIT)
    assert not append_summary(path, example("PASS"))
    assert path.stat().st_size == SUMMARY_LIMIT


def test_the_status_holds_only_our_words_and_numbers() -> None:
    for result in (
        example("PASS"),
        example("FAIL"),
        example("INCONCLUSIVE"),
        many_tasks(3_000, text="@octocat"),
    ):
        text = describe(result)
        assert len(text) <= 140
        assert re.fullmatch(
            r"(PASS|FAIL|INCONCLUSIVE): [0-9,]+ tasks, [0-9,]+ paired items, p = [-0-9.e]+(, \d+ worse on (its|their) own)?",
            text,
        )


def test_a_status_context_is_one_visible_line() -> None:
    assert check_context(" quantgate / nightly ") == "quantgate / nightly"
