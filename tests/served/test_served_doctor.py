"""`gate doctor` looks at the servers that gate.yml asks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from support.commands import run_gate
from support.tiny import edit_gate_yml


def findings(kind: str) -> list[dict[str, str]]:
    report = json.loads(run_gate("doctor", "--json").out)
    return [finding for finding in report["findings"] if finding["what"].startswith(kind)]


def test_an_installed_server_is_named_once_with_its_version(served_project: Callable[..., Path]) -> None:
    served_project()
    (server,) = findings("server")
    assert server["state"] == "ok"
    assert "tiny_server.py sha256" in server["text"]
    assert server["text"].endswith("is started for baseline, candidate.")
    (baseline,) = findings("baseline")
    assert "of weights in" in baseline["text"]


def test_a_missing_program_and_a_missing_gpu_are_problems(served_project: Callable[..., Path]) -> None:
    folder = served_project()
    edit_gate_yml(folder, engine={"kind": "served", "command": ["no-such-server", "{model}", "{port}"]})
    assert [finding["state"] for finding in findings("server")] == ["problem", "problem"]
    assert "no executable program no-such-server" in findings("server of baseline")[0]["text"]
    served = {"kind": "served", "command": ["python3", "{model}", "{port}"], "gpus": [97]}
    edit_gate_yml(folder, engine=served)
    assert "engine.gpus names [97], but nvidia-smi lists" in findings("server of candidate")[0]["text"]
