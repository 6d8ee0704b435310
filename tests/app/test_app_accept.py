"""Accepted regressions from gate.yml to the reports: named in all of them, and read back from result.json."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

import gate
from gate.github.status import status_description
from gate.github.untrusted import read_untrusted
from gate.report.junit import render_junit
from gate.report.markdown import render_markdown
from gate.report.result import read_result, to_json

CONFIG = """
version: 1
baseline: {model: org/a, revision: main}
candidate: {model: org/b, revision: main}
tasks: [{name: faq, file: faq.jsonl, prompt: x, choices: y, answer: z}]
accept:
  - {task: faq, items: [%s], reason: "wrong answer key, see #41", expires: 2999-12-31}
  - {task: faq, drop: 0.2, reason: too late, expires: 2001-12-31}
"""


def write(path: Path, wrong: Collection[int]) -> Path:
    rows = [f"faq,i{item},x,x,{int(item not in wrong)}" for item in range(200)]
    path.write_text("\n".join(["task,item_id,output,target,correct", *rows]), encoding="utf-8")
    return path


@pytest.fixture
def result(tmp_path: Path) -> gate.Result:
    (tmp_path / "gate.yml").write_text(CONFIG % ", ".join(f"i{n}" for n in range(12)), encoding="utf-8")
    baseline = write(tmp_path / "baseline.csv", range(150, 180))
    candidate = write(tmp_path / "candidate.csv", [*range(12), *range(150, 180)])
    return gate.compare(baseline, candidate, config=tmp_path / "gate.yml")


def test_every_report_names_what_is_accepted_and_what_expired(result: gate.Result) -> None:
    assert (result.verdict, result.exit_code) == ("PASS", 0)
    assert result.p_value == pytest.approx(2.0**-12)
    for text in (render_markdown(result), render_junit(result)):
        assert "Accepted until" in text
        assert "Expired on" in text
        assert "On all items" in text
    assert "| 12 worse, 0 better" in render_markdown(result)  # the table is that of all items
    assert status_description(result).endswith("p = 1 without accepted regressions")


def test_the_result_is_read_back(result: gate.Result, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(to_json(result), encoding="utf-8")
    assert read_result(path).accepted == result.accepted
    untrusted = read_untrusted(path)
    assert isinstance(untrusted, gate.Result)
    assert untrusted.accepted == result.accepted
