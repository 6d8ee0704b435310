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
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["task", "item_id", "output", "target", "correct"])
        for task, right in tasks.items():
            for number, one in enumerate(right):
                writer.writerow([task, names.format(number), "yes" if one else "no", "yes", one])
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "base.csv", {"arc": [1] * 60 + [0] * 40, "faq": [1] * 10 + [0] * 10})


@pytest.fixture
def same(tmp_path: Path) -> Path:
    return write_csv(
        tmp_path / "same.csv", {"arc": [1] * 57 + [0] * 38 + [1] * 5, "faq": [1] * 10 + [0] * 10}
    )


@pytest.fixture
def worse(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "worse.csv", {"arc": [1] * 40 + [0] * 60, "faq": [1] * 10 + [0] * 10})


def test_a_candidate_as_good_passes_with_0(base: Path, same: Path) -> None:
    code, out, _ = run_gate("compare", base, same)
    assert code == 0
    assert "PASS" in out
    assert "3/5" in out


def test_a_worse_candidate_fails_with_1(base: Path, worse: Path) -> None:
    code, out, _ = run_gate("compare", base, worse)
    assert code == 1
    assert "FAIL" in out
    assert "20/0" in out


@pytest.mark.parametrize(("policy", "expected"), [("pass", 0), ("fail", 3)])
def test_a_candidate_that_is_not_proved_ends_by_the_policy(
    base: Path, same: Path, policy: str, expected: int
) -> None:
    code, out, _ = run_gate("compare", base, same, "--certify", 0.01, "--on-inconclusive", policy)
    assert code == expected
    assert "INCONCLUSIVE" in out
    assert re.search(r"About [\d,]+ items would\.", " ".join(out.split()))


@pytest.mark.parametrize(
    ("arguments", "words"),
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
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run_gate(*arguments)
    assert code == 2
    assert words in err
    assert out == ""
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_no_command_shows_the_help_and_is_wrong_usage() -> None:
    code, _, err = run_gate()
    assert code == 2
    assert "compare" in err


def test_help_and_version_end_with_0() -> None:
    code, out, _ = run_gate("--help")
    assert code == 0
    for name in ("run", "baseline", "evaluate", "compare", "report", "demo", "schema"):
        assert re.search(rf"^  {name} ", out, re.MULTILINE)
        assert run_gate(name, "-h")[0] == 0
    code, out, _ = run_gate("--version")
    assert (code, out.split()[0]) == (0, "quantgate,")


def test_an_unexpected_error_is_4_and_never_1(
    base: Path, same: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(gate.app.compare, "decide", broken)
    code, _, err = run_gate("compare", base, same)
    assert code == 4
    assert "ZeroDivisionError: boom" in err
    assert "bug in quantgate" in err


def test_unpaired_items_are_wrong_input_unless_allowed(base: Path, tmp_path: Path) -> None:
    short = write_csv(tmp_path / "short.csv", {"arc": [1] * 60 + [0] * 30, "faq": [1] * 10 + [0] * 10})
    code, _, err = run_gate("compare", base, short)
    assert code == 2
    assert "10 item(s) only in the baseline" in err
    code, out, _ = run_gate("compare", base, short, "--allow-partial")
    assert code == 0
    assert "left out" in out


def test_an_unknown_task_is_wrong_input_and_lists_those_there(base: Path, same: Path) -> None:
    for option in ("--task", "--advisory"):
        code, _, err = run_gate("compare", base, same, option, "arcc")
        assert code == 2
        assert "arcc; they have: arc, faq" in err


def test_options_reach_the_decision(base: Path, worse: Path) -> None:
    def data(*options: object) -> dict[str, Any]:
        code, out, _ = run_gate("compare", base, worse, "--json", "-", *options)
        found: dict[str, Any] = json.loads(out)
        assert found["exit_code"] == code
        return found

    assert data("--advisory", "arc")["verdict"] == "PASS"
    assert [task["task"] for task in data("--task", "faq")["tasks"]] == ["faq"]
    assert data("--alpha", 1e-9)["verdict"] == "PASS"
    assert data("--margin", 0.3)["verdict"] == "PASS"
    assert data("--rule", "holm")["rule"] == "holm"
    assert data("--certify", 0.2, "--power", 0.5)["certification"]["margin"] == 0.2
    assert data("--task", "faq", "--max-flip-rate", 0)["verdict"] == "PASS"
    assert len(data("--max-flip-rate", 0.1)["reasons"]) == 2


def test_the_line_to_reproduce_it_gives_the_same_result(base: Path, same: Path) -> None:
    options = ["--advisory", "faq", "--alpha", "0.1", "--rule", "max", "--seed", "3", "--allow-partial"]
    first = json.loads(run_gate("compare", base, same, *options, "--json", "-")[1])
    (line,) = first["provenance"]["reproduce"]
    words = shlex.split(line)
    assert words[0] == "gate"
    assert json.loads(run_gate(*words[1:], "--json", "-")[1]) == first


def test_files_and_streams_hold_the_same_reports(base: Path, worse: Path, tmp_path: Path) -> None:
    json_file, markdown_file = tmp_path / "new" / "r.json", tmp_path / "r.md"
    code, out, _ = run_gate(
        "compare", base, worse, "--json", json_file, "--markdown", markdown_file, "--quiet"
    )
    assert code == 1
    assert "FAIL" in out
    assert run_gate("compare", base, worse, "--json", "-")[1] == json_file.read_text()
    assert run_gate("compare", base, worse, "--markdown", "-")[1] == markdown_file.read_text()


def test_a_report_is_rendered_again_with_0_whatever_the_verdict(
    base: Path, worse: Path, tmp_path: Path
) -> None:
    json_file, markdown_file = tmp_path / "r.json", tmp_path / "r.md"
    first = run_gate("compare", base, worse, "--json", json_file, "--markdown", markdown_file)
    assert run_gate("report", json_file) == (0, first[1], "")
    assert run_gate("report", json_file, "-f", "markdown") == (0, markdown_file.read_text(), "")
    assert run_gate("report", json_file, "-f", "json") == (0, json_file.read_text(), "")
    again = tmp_path / "again.md"
    assert run_gate("report", json_file, "-f", "markdown", "-o", again) == (0, "", "")
    assert again.read_text() == markdown_file.read_text()


def test_a_report_that_cannot_be_written_is_4(base: Path, same: Path) -> None:
    code, _, err = run_gate("compare", base, same, "--json", base / "r.json")
    assert code == 4
    assert "cannot be written" in err


def test_a_message_that_quotes_a_file_is_no_command_to_the_runner(base: Path, tmp_path: Path) -> None:
    odd = write_csv(tmp_path / "odd.csv", {"arc": [1] * 100, "faq": [1] * 20}, "\n::error::{}")
    code, _, err = run_gate("compare", base, odd)
    assert code == 2
    assert "only in the candidate" in err
    assert "error" in err.split("candidate", 1)[1]
    assert not any(line.strip().startswith("::") for line in err.splitlines())


def test_the_schema_of_gate_yml_accepts_a_real_file_and_refuses_a_misspelt_key(tmp_path: Path) -> None:
    code, out, _ = run_gate("schema")
    schema = json.loads(out)
    assert code == 0
    jsonschema.Draft202012Validator.check_schema(schema)
    config = yaml.safe_load(write_gate_yml(tmp_path, "a", "b", report={"json": None}).read_text())
    jsonschema.validate(config, schema)
    for wrong in (
        {**config, "taks": []},
        {**config, "decision": {"alhpa": 0.05}},
        {**config, "decision": {"alpha": 2}},
        {key: value for key, value in config.items() if key != "tasks"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_the_schema_of_result_json_accepts_a_real_result(base: Path, worse: Path) -> None:
    code, out, _ = run_gate("schema", "--result")
    schema = json.loads(out)
    assert code == 0
    jsonschema.Draft202012Validator.check_schema(schema)
    result = json.loads(run_gate("compare", base, worse, "--json", "-")[1])
    jsonschema.validate(result, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**result, "verdict": "MAYBE"}, schema)
