"""`gate demo` on the real model, with a few items."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gate.cli.main import main
from gate.config import load_config
from gate.demo.setup import CANDIDATES, write_config


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


def test_the_gate_yml_names_all_candidates_and_no_verdict(tmp_path: Path) -> None:
    path = write_config(tmp_path, items=5)
    config = load_config(path).config
    assert list(config.compared) == [candidate.name for candidate in CANDIDATES]
    assert len(config.tasks) >= 3
    assert all((tmp_path / str(task.file)).is_file() for task in config.tasks)
    assert config.samples.limit == 5
    (text,) = (task for task in config.tasks if task.kind == "text")
    assert text.role == "advisory"  # int8 makes texts a little less likely, which is not what the demo decides by
    text = path.read_text(encoding="utf-8")
    assert "PASS" not in text
    assert "FAIL" not in text


@pytest.mark.slow
def test_the_demo_distinguishes_damage_from_noise_and_evaluates_the_baseline_once(
    smollm2: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(smollm2, tmp_path / "models" / "baseline")
    assert run("demo", "--dir", str(tmp_path), "--items", "15") == 0
    first = capfd.readouterr()
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    verdicts = {candidate["name"]: candidate["result"]["verdict"] for candidate in result["candidates"]}
    assert verdicts == {"lossless": "PASS", "int8": "PASS", "damaged": "FAIL"}
    assert first.err.count("baseline models/baseline: evaluating") == 1
    assert all((tmp_path / f"report-{name}.html").is_file() for name in verdicts)

    assert run("run", "--config", str(tmp_path / "gate-demo.yml")) == 1
    again = capfd.readouterr()
    assert "baseline models/baseline: evaluating" not in again.err
    assert "FAIL" in again.out
