"""`gate compare`, `gate report`, `gate schema` and wrong usage: exit codes, streams and files."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from support.commands import run_gate
from support.tiny import write_gate_yml

import gate.app.compare


def write_csv(path: Path, tasks: dict[str, list[int]], names: str = "item-{}") -> Path:
    """Write samples with the given scores (0 or 1) per task."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["task", "item_id", "output", "target", "correct"])
        for task, scores in tasks.items():
            for number, score in enumerate(scores):
                writer.writerow([task, names.format(number), "yes" if score else "no", "yes", score])
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "base.csv", {"arc": [1] * 60 + [0] * 40, "faq": [1] * 10 + [0] * 10})


@pytest.fixture
def equal(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "equal.csv", {"arc": [1] * 57 + [0] * 38 + [1] * 5, "faq": [1] * 10 + [0] * 10})


@pytest.fixture
def worse(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "worse.csv", {"arc": [1] * 40 + [0] * 60, "faq": [1] * 10 + [0] * 10})


def test_an_equal_candidate_passes_with_exit_code_0(base: Path, equal: Path) -> None:
    code, out, _ = run_gate("compare", base, equal)
    assert code == 0
    assert "PASS" in out
    assert "3/5" in out


def test_a_worse_candidate_fails_with_exit_code_1(base: Path, worse: Path) -> None:
    code, out, _ = run_gate("compare", base, worse)
    assert code == 1
    assert "FAIL" in out
    assert "20/0" in out


@pytest.mark.parametrize(("policy", "expected"), [("pass", 0), ("fail", 3)])
def test_an_inconclusive_result_exits_as_the_policy_says(base: Path, equal: Path, policy: str, expected: int) -> None:
    code, out, _ = run_gate("compare", base, equal, "--certify", 0.01, "--on-inconclusive", policy)
    assert code == expected
    assert "INCONCLUSIVE" in out
    assert re.search(
        r"If the true drop is zero and the flip rate is 8\.3%, about [\d,]+00 items would prove it with 80% power\.",
        " ".join(out.split()),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["comparre", "a", "b"], "Did you mean 'compare'?"),
        (["rnu"], "Did you mean 'run'?"),
        (["zzzz"], "No such command 'zzzz'"),
        (["compare", "a", "b", "--alhpa", "0.1"], "--alpha"),
        (["compare", "only-one"], "CANDIDATE"),
        (["compare", "a", "b", "--alpha", "1"], "--alpha"),
        (["compare", "a", "b", "--rule", "median"], "omnibus"),
        (["compare", "nowhere.csv", "nowhere.csv"], "nowhere.csv"),
        (["run", "--config", "nowhere.yml"], "nowhere.yml does not exist"),
        (["baseline", "--config", "nowhere.yml"], "nowhere.yml does not exist"),
        (["evaluate", "m", "--config", "nowhere.yml", "-o", "out"], "nowhere.yml does not exist"),
        (["evaluate", "m"], "--out"),
        (["report", "nowhere.json"], "nowhere.json does not exist"),
        (["report", "nowhere.json", "-f", "pdf"], "markdown"),
    ],
)
def test_wrong_usage_exits_with_2_and_names_the_problem(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run_gate(*arguments)
    assert code == 2
    assert message in err
    assert out == ""
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_gate_without_a_command_prints_the_help_and_exits_with_2() -> None:
    code, _, err = run_gate()
    assert code == 2
    assert "compare" in err


def test_help_and_version_exit_with_0() -> None:
    code, out, _ = run_gate("--help")
    assert code == 0
    for name in ("run", "baseline", "evaluate", "compare", "report", "demo", "schema"):
        assert re.search(rf"^  {name} ", out, re.MULTILINE)
        assert run_gate(name, "-h")[0] == 0
    code, out, _ = run_gate("--version")
    assert (code, out.split()[0]) == (0, "quantgate,")


def test_an_unexpected_error_exits_with_4(base: Path, equal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(gate.app.compare, "judge", broken)
    code, _, err = run_gate("compare", base, equal)
    assert code == 4
    assert "ZeroDivisionError: boom" in err
    assert "bug in quantgate" in err


def test_unpaired_items_are_an_error_unless_allowed(base: Path, tmp_path: Path) -> None:
    short = write_csv(tmp_path / "short.csv", {"arc": [1] * 60 + [0] * 30, "faq": [1] * 10 + [0] * 10})
    code, _, err = run_gate("compare", base, short)
    assert code == 2
    assert "10 item(s) only in the baseline" in err
    code, out, _ = run_gate("compare", base, short, "--allow-partial")
    assert code == 0
    assert "left out" in out


def test_an_unknown_task_is_an_error_that_lists_the_known_tasks(base: Path, equal: Path) -> None:
    for option in ("--task", "--advisory"):
        code, _, err = run_gate("compare", base, equal, option, "arcc")
        assert code == 2
        assert "arcc; they have: arc, faq" in err


def test_options_reach_the_decision(base: Path, worse: Path) -> None:
    def compare(*options: object) -> dict[str, Any]:
        code, out, _ = run_gate("compare", base, worse, "--json", "-", *options)
        result: dict[str, Any] = json.loads(out)
        assert result["exit_code"] == code
        return result

    assert compare("--advisory", "arc")["verdict"] == "PASS"
    assert [task["task"] for task in compare("--task", "faq")["tasks"]] == ["faq"]
    assert compare("--alpha", 1e-9)["verdict"] == "PASS"
    assert compare("--margin", 0.3)["verdict"] == "PASS"
    assert compare("--rule", "holm")["rule"] == "holm"
    assert compare("--certify", 0.2, "--power", 0.5)["certification"]["margin"] == 0.2
    assert compare("--task", "faq", "--max-flip-rate", 0)["verdict"] == "PASS"
    assert len(compare("--max-flip-rate", 0.1)["reasons"]) == 2


def test_the_command_in_the_provenance_reproduces_the_result(base: Path, equal: Path) -> None:
    options = ["--advisory", "faq", "--alpha", "0.1", "--rule", "max", "--seed", "3", "--allow-partial"]
    first = json.loads(run_gate("compare", base, equal, *options, "--json", "-")[1])
    (command,) = first["provenance"]["reproduce"]
    name, *arguments = shlex.split(command)
    assert name == "gate"
    assert json.loads(run_gate(*arguments, "--json", "-")[1]) == first


def test_reports_in_files_and_on_standard_output_are_the_same(base: Path, worse: Path, tmp_path: Path) -> None:
    json_file, markdown_file = tmp_path / "new" / "r.json", tmp_path / "r.md"
    code, out, _ = run_gate("compare", base, worse, "--json", json_file, "--markdown", markdown_file, "--quiet")
    assert code == 1
    assert "FAIL" in out
    assert run_gate("compare", base, worse, "--json", "-")[1] == json_file.read_text()
    assert run_gate("compare", base, worse, "--markdown", "-")[1] == markdown_file.read_text()


def test_rendering_a_result_again_exits_with_0_for_every_verdict(base: Path, worse: Path, tmp_path: Path) -> None:
    json_file, markdown_file = tmp_path / "r.json", tmp_path / "r.md"
    first = run_gate("compare", base, worse, "--json", json_file, "--markdown", markdown_file)
    assert run_gate("report", json_file) == (0, first[1], "")
    assert run_gate("report", json_file, "-f", "markdown") == (0, markdown_file.read_text(), "")
    assert run_gate("report", json_file, "-f", "json") == (0, json_file.read_text(), "")
    again = tmp_path / "again.md"
    assert run_gate("report", json_file, "-f", "markdown", "-o", again) == (0, "", "")
    assert again.read_text() == markdown_file.read_text()


def test_an_unwritable_report_exits_with_4(base: Path, equal: Path) -> None:
    code, _, err = run_gate("compare", base, equal, "--json", base / "r.json")
    assert code == 4
    assert "cannot be written" in err


def test_text_quoted_from_a_file_is_not_a_workflow_command(base: Path, tmp_path: Path) -> None:
    hostile = write_csv(tmp_path / "hostile.csv", {"arc": [1] * 100, "faq": [1] * 20}, "\n::error::{}")
    code, _, err = run_gate("compare", base, hostile)
    assert code == 2
    assert "only in the candidate" in err
    assert "error" in err.split("candidate", 1)[1]
    assert not any(line.strip().startswith("::") for line in err.splitlines())


def test_the_schema_of_gate_yml_accepts_a_valid_file_and_rejects_misspelt_keys(tmp_path: Path) -> None:
    code, out, _ = run_gate("schema")
    schema = json.loads(out)
    assert code == 0
    jsonschema.Draft202012Validator.check_schema(schema)
    config = yaml.safe_load(write_gate_yml(tmp_path, "a", "b", report={"json": None}).read_text())
    jsonschema.validate(config, schema)
    for invalid in (
        {**config, "taks": []},
        {**config, "decision": {"alhpa": 0.05}},
        {**config, "decision": {"alpha": 2}},
        {key: value for key, value in config.items() if key != "tasks"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(invalid, schema)


def test_the_schema_of_result_json_accepts_a_result_and_rejects_an_unknown_verdict(base: Path, worse: Path) -> None:
    code, out, _ = run_gate("schema", "--result")
    schema = json.loads(out)
    assert code == 0
    jsonschema.Draft202012Validator.check_schema(schema)
    result = json.loads(run_gate("compare", base, worse, "--json", "-")[1])
    jsonschema.validate(result, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**result, "verdict": "MAYBE"}, schema)
