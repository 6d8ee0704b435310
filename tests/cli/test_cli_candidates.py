"""`gate run` and `gate compare` with several candidates: one evaluation of the baseline, one table, own verdicts."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from junitparser import JUnitXml
from support.commands import run_gate
from support.tiny import use_outputs_as_targets, write_gate_yml, write_tiny_task

import gate
from gate.report.candidates import read_any_result
from gate.store import open_set
from gate.store.history import LocalHistory


@pytest.fixture
def several(project: Path) -> Path:
    """60 items that the baseline gets right; the candidates are a copy, another model, and one that is missing."""
    path = write_tiny_task(project / "items.jsonl", 60)
    assert run_gate("evaluate", "base", "-o", "probe", "-q").code == 0
    use_outputs_as_targets(path, open_set(project / "probe" / "animals").read().table)
    config = yaml.safe_load(write_gate_yml(project, "base", "other").read_text())
    del config["candidate"]
    config["candidates"] = [
        {"name": "same", "model": "base"},
        {"name": "batched", "model": "base", "engine": {"max_batch_tokens": 512}},
        {"name": "other", "model": "other"},
        {"name": "later", "model": "./missing"},
    ]
    config["report"] = {"junit": "junit.xml", "attestation": "gate.intoto.json"}
    config["decision"] = {"control": "never", "draws": 10_000}
    (project / "gate.yml").write_text(yaml.safe_dump(config, sort_keys=False))
    return project


def evaluated(err: str) -> list[str]:
    """Return the models that were evaluated, in order."""
    return re.findall(r"^(?:baseline|candidate) (\w+): evaluating", err, re.MULTILINE)


def test_a_missing_candidate_does_not_lose_the_verdicts_on_the_others(several: Path) -> None:
    code, out, err = run_gate("run")
    assert code == 4
    assert evaluated(err) == ["base", "same", "batched", "other"]
    assert err.index("candidate later cannot be evaluated") < err.index("baseline base: evaluating")
    assert out.splitlines()[1].startswith("FAIL against base: 4 candidates (2 PASS, 1 FAIL, 1 not evaluated)")
    result = read_any_result(several / "gate-result.json")
    assert isinstance(result, gate.CandidatesResult)
    assert [(one.name, one.result.verdict) for one in result.candidates] == [
        ("same", "PASS"),
        ("batched", "PASS"),
        ("other", "FAIL"),
    ]
    assert (result.verdict, result.exit_code, [one.name for one in result.unevaluated]) == ("FAIL", 4, ["later"])
    assert result["other"].adjustment.candidates == 3
    assert all(one.weights_bytes and one.tokens_per_second for one in result.candidates)
    assert result.to_pandas().loc["other", "verdict"] == "FAIL"
    records = LocalHistory(several / ".gate").read()
    assert [record.name for record in records] == ["same", "batched", "other"]
    assert len({record.run for record in records}) == len({record.series for record in records}) == 1

    suites = {suite.name: suite for suite in JUnitXml.fromfile(str(several / "junit.xml"))}
    assert list(suites) == ["quantgate same", "quantgate batched", "quantgate other", "quantgate later"]
    assert [suites[name].errors for name in suites] == [0, 0, 0, 1]
    statements = [json.loads(line) for line in (several / "gate.intoto.json").read_text().splitlines()]
    assert [one["predicate"]["result"] for one in statements] == ["PASSED", "PASSED", "FAILED"]
    page = (several / "gate-report.html").read_text()
    assert 'href="gate-report-other.html"' in page
    assert "Drop against size" in page
    assert (several / "gate-report-other.html").is_file()
    assert run_gate("report", "gate-result.json").out == out
    alone = run_gate("report", "gate-result.json", "--candidate", "other", "--format", "json").out
    assert json.loads(alone)["verdict"] == "FAIL"
    assert run_gate("report", "gate-result.json", "--candidate", "nope").code == 2
    history = run_gate("history").out
    assert "1 run, 1 FAIL" in history
    assert "batched" in history


def test_the_next_run_evaluates_only_the_missing_candidate(several: Path) -> None:
    assert run_gate("run").code == 4
    shutil.copytree(several / "base", several / "missing")
    code, _, err = run_gate("run")
    assert code == 1
    assert err.count("already complete, from the interrupted run") == 3
    result = read_any_result(several / "gate-result.json")
    assert result.unevaluated == []
    assert result["later"].verdict == "PASS"
    # complete: the next run starts afresh
    code, _, err = run_gate("run")
    assert code == 1
    assert "already complete" not in err


def test_no_candidate_at_all_is_an_error(several: Path) -> None:
    for name in ("base", "other"):
        config = (several / "gate.yml").read_text().replace(f"model: {name}\n", "model: ./missing\n")
        (several / "gate.yml").write_text(config.replace("baseline:\n  model: ./missing", "baseline:\n  model: base"))
    code, out, err = run_gate("run")
    assert (code, out) == (2, "")
    assert "missing does not exist" in err


def test_the_python_api_has_a_function_for_each_kind_of_gate_yml(several: Path) -> None:
    with pytest.raises(gate.GateError, match=r"several candidates.\n  -> Call gate.run_candidates"):
        gate.run(several / "gate.yml")
    write_gate_yml(several, "base", "base")
    result = gate.run_candidates(several / "gate.yml")
    assert [one.name for one in result.candidates] == ["candidate"]
    assert result["candidate"].adjustment is None
    with pytest.raises(KeyError):
        result["int8"]


def write_csv(path: Path, right: int) -> None:
    rows = [f"faq,i{item},x,x,{int(item < right)}" for item in range(60)]
    path.write_text("\n".join(["task,item_id,output,target,correct", *rows]) + "\n")


def test_compare_takes_several_candidates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").mkdir()
    for name, right in (("base", 50), ("int8", 49), ("int4", 38), ("old/int8", 50)):
        write_csv(tmp_path / f"{name}.csv", right)
    files = ["base.csv", "int8.csv", "int4.csv", "old/int8.csv"]
    code, out, _ = run_gate("compare", *files, "--json", "r.json", "--html", "r.html", "--task", "faq")
    assert code == 1
    assert re.findall(r"^│ (\S+) +│ (\w+)", out, re.MULTILINE) == [
        ("int8", "PASS"),
        ("int4", "FAIL"),
        ("int8-2", "PASS"),
    ]
    result = read_any_result(tmp_path / "r.json")
    assert result.provenance["reproduce"] == ["gate compare base.csv int8.csv int4.csv old/int8.csv --task faq"]
    assert sorted(path.name for path in tmp_path.glob("r*.html")) == [
        "r-int4.html",
        "r-int8-2.html",
        "r-int8.html",
        "r.html",
    ]
    alone = run_gate("compare", "base.csv", "int4.csv", "--json", "-").out
    assert result["int4"].p_alone == json.loads(alone)["p_value"]
    assert run_gate("compare", "base.csv").code == 2


def test_a_candidate_that_lacks_items_is_named_or_compared_on_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, right in (("base", 50), ("int8", 50), ("int4", 38)):
        write_csv(tmp_path / f"{name}.csv", right)
    lines = (tmp_path / "int4.csv").read_text().splitlines()
    (tmp_path / "int4.csv").write_text("\n".join([lines[0], *lines[21:]]) + "\n")
    files = ["base.csv", "int8.csv", "int4.csv"]
    code, _, err = run_gate("compare", *files)
    assert code == 2
    assert "candidate int4: task faq: 20 item(s) only in the baseline" in " ".join(err.split())
    code, out, _ = run_gate("compare", *files, "--allow-partial", "--json", "r.json")
    assert code == 1
    assert "2 candidates (1 PASS, 1 FAIL), at most 1 task, 60 paired items" in " ".join(out.split())
    result = read_any_result(tmp_path / "r.json")
    assert (result["int8"].items, result["int4"].items) == (60, 40)
    assert result["int4"].p_value == pytest.approx(2**-12, rel=0.05)  # no flip of int8 to share signs with
