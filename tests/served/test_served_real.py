"""Real servers, started by the gate: vLLM (`QUANTGATE_VLLM_PYTHON` names its interpreter) and llama.cpp."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_gate
from support.jsonl import write_jsonl
from support.started import processes_with, wait_for

pytestmark = pytest.mark.slow

FACTS = [
    ("What colour is the sky on a clear day?", ["blue", "red", "green"], 0),
    ("Which animal barks?", ["cow", "dog", "hen"], 1),
    ("What is the capital of Italy?", ["Rome", "Oslo", "Lima"], 0),
    ("What do bees make?", ["milk", "honey", "silk"], 1),
    ("What is frozen water called?", ["ice", "steam", "rain"], 0),
    ("What is the capital of France?", ["Berlin", "Paris", "Madrid"], 1),
]


def write_project(folder: Path, **sections: Any) -> None:
    """Write a gate.yml over the facts."""
    write_jsonl(folder / "facts.jsonl", ({"q": q, "options": options, "gold": gold} for q, options, gold in FACTS))
    task = {
        "name": "facts",
        "file": "facts.jsonl",
        "prompt": "Question: {{ q }}\nAnswer:",
        "choices": "{{ options }}",
        "answer": "{{ gold }}",
        "chance": 0.0,
    }
    config = {"version": 1, "tasks": [task], **sections}
    (folder / "gate.yml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML


def result_in(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "gate-result.json").read_text(encoding="utf-8"))
    return result


@pytest.fixture
def vllm() -> dict[str, Any]:
    """The engine section for vLLM on the CPU."""
    python = os.environ.get("QUANTGATE_VLLM_PYTHON")
    if python is None:
        pytest.skip("QUANTGATE_VLLM_PYTHON is not set")
    arguments = ["--enforce-eager", "--max-model-len", 512]
    environment = {"VLLM_CPU_KVCACHE_SPACE": 1}
    return {"kind": "served", "preset": "vllm", "python": python, "args": arguments, "env": environment}


def test_vllm_with_another_flag_passes(
    vllm: dict[str, Any], smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    monkeypatch.chdir(tmp_path)
    candidate = {"model": str(smollm2), "engine": {"args": ["--no-enable-prefix-caching"]}}
    write_project(tmp_path, baseline={"model": str(smollm2)}, candidate=candidate, engine=vllm)
    done = run_gate("run")
    assert done.code == 0, done.err
    result = result_in(tmp_path)
    assert result["candidate"]["engine"].startswith("served(")
    assert result["candidate"]["stack"]["server"].startswith("vllm ")
    assert result["candidate"]["stack"]["args"].endswith("--no-enable-prefix-caching")
    assert result["tasks"][0]["kl_mean"] < 0.01
    assert result["tasks"][0]["baseline"] > 0.6
    assert processes_with(mark) == []
    # a flag that vLLM does not have
    candidate["engine"]["args"] = ["--no-such-flag"]
    write_project(tmp_path, baseline={"model": str(smollm2)}, candidate=candidate, engine=vllm)
    wrong = run_gate("run")
    assert wrong.code == 2
    assert "it does not accept its arguments" in wrong.err
    assert "--no-such-flag" in wrong.err


@pytest.mark.parametrize("moment", ["Initializing", "Application startup complete"])
def test_nothing_of_vllm_stays_behind_when_the_gate_is_killed(
    vllm: dict[str, Any], smollm2: Path, tmp_path: Path, mark: str, moment: str
) -> None:
    write_project(tmp_path, baseline={"model": str(smollm2)}, candidate={"model": str(smollm2)}, engine=vllm)
    gate = subprocess.Popen([sys.executable, "-m", "gate", "run"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    logs = tmp_path / ".gate" / "servers"
    wait_for(lambda: any(moment in log.read_text(errors="replace") for log in logs.glob("*.log")), 300)
    assert len(processes_with(mark)) >= 3  # the gate, the supervisor, and vLLM's processes
    gate.kill()
    gate.wait()
    wait_for(lambda: processes_with(mark) == [], 30)


@pytest.mark.exhaustive  # tests/servers/test_servers_llamacpp.py runs the gate with this server
def test_llama_cpp_serves_a_gguf_file(
    smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    pytest.importorskip("xllamacpp")
    from gate.demo.models import find_gguf

    monkeypatch.chdir(tmp_path)
    script = Path(__file__).parents[1] / "support" / "llamacpp_server.py"
    served = {"kind": "served", "command": [sys.executable, str(script), "{model}", "{name}", "{port}"]}
    write_project(
        tmp_path,
        baseline={"model": str(smollm2), "dtype": "float32"},
        candidate={"model": str(find_gguf().parent), "gguf_file": find_gguf().name, "engine": served},
        engine={"device": "cpu"},
    )
    done = run_gate("run")
    assert done.code == 0, done.err
    result = result_in(tmp_path)
    assert result["candidate"]["stack"]["server"].startswith("llama.cpp")
    assert result["control"]["kind"] == "none"
    assert "serves GGUF" in result["control"]["note"]
    assert result["tasks"][0]["kl_mean"] < 0.1
    assert processes_with(mark) == []
