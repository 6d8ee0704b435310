"""A report that cannot be rendered or written costs neither the verdict nor the history nor the action's outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from support.commands import run_gate
from support.runner import as_runner, read_outputs
from support.tiny import edit_gate_yml, use_outputs_as_targets, write_tiny_task

import gate
from gate.app.report_files import ReportError
from gate.cli.main import main
from gate.report.html import render_html
from gate.store import open_set
from gate.store.history import LocalHistory


@pytest.fixture
def failing(project: Path) -> Path:
    """A project whose candidate FAILs."""
    path = write_tiny_task(project / "items.jsonl", 60)
    assert run_gate("evaluate", "base", "-o", "probe", "-q").code == 0
    use_outputs_as_targets(path, open_set(project / "probe" / "animals").read().table)
    return project


def block(project: Path, name: str = "report.html") -> Path:
    """Configure an HTML report, and put a folder where it would be written."""
    edit_gate_yml(project, report={"html": name})
    blocked = project / name
    blocked.mkdir()
    (blocked / "file").touch()
    return blocked


def test_a_fail_keeps_its_exit_code_and_the_other_reports(failing: Path) -> None:
    block(failing)
    code, out, err = run_gate("run")
    assert code == 1
    assert "FAIL" in out
    assert "error: the verdict FAIL stands, but not every report was written:" in err
    assert "report.html" in err.partition("error:")[2]
    assert json.loads((failing / "gate-result.json").read_text())["verdict"] == "FAIL"
    assert (failing / "gate-report.md").exists()
    assert [record.verdict for record in LocalHistory(failing / ".gate").read()] == ["FAIL"]


def test_a_pass_without_its_report_exits_with_4_and_the_same_command_completes_it(project: Path) -> None:
    blocked = block(project)
    code, out, _ = run_gate("run")
    assert (code, "PASS" in out) == (4, True)
    first = LocalHistory(project / ".gate").read()
    (blocked / "file").unlink()
    blocked.rmdir()
    code, again, err = run_gate("run")
    assert (code, again) == (0, out)
    assert "already complete, from the interrupted run" in err
    assert blocked.read_text().startswith("<!")
    assert LocalHistory(project / ".gate").read() == first
    assert not list((project / ".gate").rglob("*.running"))
    run_gate("run")
    assert len(LocalHistory(project / ".gate").read()) == 2


def test_several_candidates_keep_their_verdicts(failing: Path) -> None:
    block(failing, "report-int4.html")
    config = yaml.safe_load((failing / "gate.yml").read_text())
    del config["candidate"]
    config |= {"candidates": [{"name": "int8", "model": "base"}, {"name": "int4", "model": "other"}]}
    config["report"] = {"html": "report.html"}
    (failing / "gate.yml").write_text(yaml.safe_dump(config))
    with pytest.raises(ReportError) as caught:
        gate.run_candidates("gate.yml")
    error = caught.value
    assert [name for name, _ in error.problems] == ["report-int4.html"]
    assert (error.exit_code, error.result.verdict) == (1, "FAIL")
    assert (failing / "report.html").exists()
    assert (failing / "report-int8.html").exists()
    assert [record.verdict for record in LocalHistory(failing / ".gate").read()] == ["PASS", "FAIL"]
    assert run_gate("run").code == 1
    assert len(LocalHistory(failing / ".gate").read()) == 2


def test_the_actions_outputs_say_what_the_verdict_is(failing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_gate_yml(failing, report={"markdown": "blocked/report.md"})
    (failing / "blocked").touch()
    output = failing / "output"
    environment = as_runner(github_token="", comment="false") | {"GITHUB_OUTPUT": str(output)}
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(SystemExit) as caught:
        main(["action"])
    assert caught.value.code == 1
    outputs = read_outputs(output)
    assert (outputs["verdict"], outputs["exit-code"], outputs["report-path"]) == ("FAIL", "1", "")
    assert outputs["result-path"] == "gate-result.json"


def test_an_answer_of_many_digits_is_shown(tmp_path: Path) -> None:
    digits = "9" * 5000
    for name, right in (("a", 30), ("b", 5)):
        rows = [f"faq,{item},{digits},{digits},{int(item < right)}" for item in range(40)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["task,item_id,output,target,correct", *rows]) + "\n")
    code, _, err = run_gate(
        "compare", tmp_path / "a.csv", tmp_path / "b.csv", "--html", tmp_path / "r.html", "--json", tmp_path / "r.json"
    )
    assert code == 1, err
    assert json.loads((tmp_path / "r.json").read_text())["verdict"] == "FAIL"
    assert digits[:100] in (tmp_path / "r.html").read_text()


def test_an_error_of_the_renderer_keeps_the_verdict_of_a_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise ValueError("unprintable")

    monkeypatch.setattr(f"{render_html.__module__}.render_html", broken)
    for name, right in (("a", 30), ("b", 5)):
        rows = [f"faq,{item},x,x,{int(item < right)}" for item in range(40)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["task,item_id,output,target,correct", *rows]) + "\n")
    files = (tmp_path / "a.csv", tmp_path / "b.csv")
    options = ("--html", tmp_path / "r.html", "--junit", tmp_path / "r.xml")
    code, out, err = run_gate("compare", *files, *options)
    assert (code, "FAIL" in out, "ValueError: unprintable" in err) == (1, True, True)
    assert (tmp_path / "r.xml").exists()
    assert run_gate("compare", files[0], files[0], *options).code in (3, 4)
