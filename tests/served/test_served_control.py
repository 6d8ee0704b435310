"""The A/A control with served engines: flags are what is tested for equal weights, and a stack for different ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_gate
from support.started import tiny_command

SERVED: dict[str, Any] = {"kind": "served", "command": tiny_command(), "concurrency": 2}


def result_in(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "gate-result.json").read_text(encoding="utf-8"))
    return result


@pytest.mark.exhaustive
def test_equal_weights_with_another_flag_are_an_ordinary_comparison(served_project: Callable[..., Path]) -> None:
    folder = served_project(candidate={"model": "base", "engine": {"env": {"TINY_FLAG": "1"}}})
    done = run_gate("run")
    assert done.code == 0, done.err
    result = result_in(folder)
    assert result["control"] is None
    assert (result["tasks"][0]["regressions"], result["tasks"][0]["improvements"]) == (0, 0)
    assert result["candidate"]["stack"]["env"] == "TINY_FLAG=1"
    assert result["candidate"]["fingerprint"] != result["baseline"]["fingerprint"]
    logs = "".join(log.read_text() for log in (folder / ".gate" / "servers").glob("*.log"))
    assert logs.count("TINY_FLAG=1") == 1
    assert logs.count("TINY_FLAG=None") == 1


@pytest.mark.exhaustive
def test_equal_weights_in_another_engine_are_an_ordinary_comparison(served_project: Callable[..., Path]) -> None:
    folder = served_project(engine={"device": "cpu"}, candidate={"model": "base", "engine": SERVED})
    done = run_gate("run")
    assert done.code == 0, done.err
    assert result_in(folder)["control"] is None
    assert "answers again" not in done.err


@pytest.mark.exhaustive
def test_other_weights_in_another_engine_are_compared_with_the_baseline_in_that_engine(
    served_project: Callable[..., Path], mark: str
) -> None:
    folder = served_project(engine={"device": "cpu"}, candidate={"model": "other", "engine": SERVED})
    done = run_gate("run")
    assert done.code == 0, done.err
    assert "the baseline answers again on this one" in done.err
    result = result_in(folder)
    assert result["control"]["kind"] == "stack"
    assert result["control"]["differences"]["engine"] == ["transformers", "served"]
    assert result["control"]["floor"]["flips"] == 0  # float32 in both engines
    again = run_gate("run")  # the control is in the store
    assert "(log: " in again.err
    assert again.err.count("starting tiny_server.py") == 1


@pytest.mark.exhaustive
def test_a_control_that_cannot_start_is_reported_and_the_cached_baseline_decides(
    served_project: Callable[..., Path], tmp_path: Path
) -> None:
    # the server of the baseline's weights fails, as a server does for which they are too large
    script = tmp_path / "small.py"
    script.write_text(
        "import runpy, sys\n"
        "if sys.argv[1].endswith('base'): sys.exit('CUDA out of memory')\n"
        f"runpy.run_path({tiny_command()[1]!r}, run_name='__main__')\n"
    )
    command = [tiny_command()[0], "small.py", *tiny_command()[2:]]
    folder = served_project(
        engine={"device": "cpu"}, candidate={"model": "other", "engine": {**SERVED, "command": command}}
    )
    done = run_gate("run")
    assert done.code == 0, done.err
    control = result_in(folder)["control"]
    assert control["kind"] == "none"
    assert "ran out of memory" in control["note"]
    assert "no control: model base" in done.err


@pytest.mark.parametrize("files", [{}, {"gguf_file": "model.gguf"}])
def test_a_gguf_candidate_of_a_command_has_no_control(files: dict[str, str], tiny_model: Path, tmp_path: Path) -> None:
    from support.tiny import write_gate_yml, write_tiny_task

    from gate.app.control_model import NotPossibleError, with_settings_of
    from gate.app.models import LocatedModel
    from gate.app.suite import Suite
    from gate.config import EngineSettings, ModelSettings
    from gate.config.load import load_config
    from gate.engines import identify, locate
    from gate.store import Store

    write_tiny_task(tmp_path / "items.jsonl")
    loaded = load_config(write_gate_yml(tmp_path, str(tiny_model), str(tiny_model)))
    suite = Suite(loaded, (), Store(tmp_path / ".gate"))
    source = locate(ModelSettings(model=str(tiny_model)), tmp_path)
    baseline = LocatedModel(source, identify(source, EngineSettings(), tmp_path), EngineSettings())
    engine, candidate = EngineSettings(**SERVED), ModelSettings(model="m", **files)
    if files:
        with pytest.raises(NotPossibleError, match=r"serves GGUF, but the baseline .* is safetensors"):
            with_settings_of(suite, baseline, candidate, engine, "auto")
    else:
        model = with_settings_of(suite, baseline, candidate, engine, "auto")
        assert model.identity.engine.startswith("served(")
        assert model.identity.weights == baseline.identity.weights
