"""Replicas of a served engine on Ray: each starts a server of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import ValidationError
from support.opened import silent
from support.started import processes_with, wait_for
from support.tiny import edit_gate_yml, write_tiny_project

from gate.config import EngineSettings
from gate.engines import Engine, close_engine
from gate.engines.cluster import connect, gpus_per_replica, stop
from gate.errors import EvaluationError, Terminated
from gate.tasks.requests import LoglikelihoodRequest

REQUESTS = [LoglikelihoodRequest(f"the cat number {number} is", (" red", " blue")) for number in range(40)]


SERVER = Path(__file__).parents[1] / "support" / "instant_server.py"
COMMAND = [sys.executable, str(SERVER), "{model}", "{name}", "{host}", "{port}", "--delay=0.05"]


def served(**settings: Any) -> EngineSettings:
    return EngineSettings(kind="served", command=COMMAND, **settings)


def servers(mark: str) -> list[int]:
    """Return the servers that run, without their supervisors."""
    found = [each for each in psutil.process_iter(["cmdline"]) if str(SERVER) in (each.info["cmdline"] or ())]
    marked = set(processes_with(mark))
    return [each.pid for each in found if each.pid in marked and "-S" not in each.info["cmdline"]]


def workers() -> list[int]:
    """Return the Ray workers of this process that answer requests."""
    found = psutil.Process().children(recursive=True)
    return [each.pid for each in found if each.name().startswith("ray::Worker")]


@pytest.mark.exhaustive
@pytest.mark.parametrize("victim", ["worker", "server"])
def test_two_replicas_answer_like_one_even_if_one_is_killed(
    victim: str, start: Callable[..., Engine], tmp_path: Path, mark: str
) -> None:
    pytest.importorskip("ray")
    single = start(command=COMMAND)
    expected = single.loglikelihood(REQUESTS, silent)
    close_engine(single)
    replicas = start(command=COMMAND, replicas=2)
    assert len(servers(mark)) == 2
    assert os.environ["RAY_AUTH_MODE"] == "token"  # Ray set it
    assert len(list((tmp_path / "logs").glob("replica-*/*.log"))) == 2
    killed: list[int] = []

    def kill_once(_: int) -> None:
        if not killed:
            killed.append((servers(mark) if victim == "server" else workers())[0])
            os.kill(killed[0], signal.SIGKILL)

    answers = replicas.loglikelihood(REQUESTS, kill_once)
    assert [each.loglikelihoods for each in answers] == [each.loglikelihoods for each in expected]
    assert killed
    assert replicas.runtime.stack["replicas"] == "2"
    wait_for(lambda: len(servers(mark)) == 2)
    replicas.close()  # type: ignore[attr-defined]
    wait_for(lambda: processes_with(mark) == [], 60)


@pytest.mark.exhaustive
def test_a_terminated_run_with_replicas_exits_with_143_and_leaves_no_process(
    tmp_path: Path, weights: Path, other_weights: Path, mark: str
) -> None:
    pytest.importorskip("ray")
    write_tiny_project(tmp_path, weights, other_weights)
    command = [*COMMAND[:-1], "--delay=1"]
    edit_gate_yml(tmp_path, engine={"kind": "served", "command": command, "concurrency": 2, "replicas": 2})
    log = tmp_path / "run.log"
    with log.open("wb") as handle:
        run = subprocess.Popen([sys.executable, "-m", "gate", "run"], cwd=tmp_path, stderr=handle)
    wait_for(lambda: len(servers(mark)) == 2 or run.poll() is not None, 400)
    time.sleep(2)
    run.terminate()
    run.wait(60)
    messages = log.read_text(encoding="utf-8")
    assert run.returncode == 143, messages
    assert "completed work is kept" in messages
    wait_for(lambda: processes_with(mark) == [], 60)


def test_ray_does_not_take_over_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: signal.signal(signal.SIGTERM, lambda *_: sys.exit(15)))  # as Ray does
    before = signal.getsignal(signal.SIGTERM)
    connect(served(replicas=2))
    assert signal.getsignal(signal.SIGTERM) is before
    stop(ray, [], closes=False)
    monkeypatch.setattr(ray, "init", lambda **_: sys.exit(signal.SIGTERM))  # a signal during the start
    with pytest.raises(Terminated):
        connect(served(replicas=2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"replicas": 2, "gpus": [0, 1]}, "with replicas, gpus must be a number"),
        ({"gpus": 2}, "without replicas, gpus must be a list of numbers"),
        ({"replicas": 2, "port": 8000}, "port must be auto with replicas"),
    ],
)
def test_settings_that_do_not_fit_replicas_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        served(**settings)


def test_a_ray_that_does_not_start_is_an_error(start: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    starts = []

    def time_out(**_: Any) -> None:
        starts.append(1)
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", time_out)
    with pytest.raises(EvaluationError, match="Ray on this machine cannot be reached or started: The current node"):
        start(replicas=2)
    assert len(starts) == 3


class Cluster:
    """The part of Ray that reports resources."""

    def __init__(self, **resources: float) -> None:
        self.cluster_resources = lambda: resources


def test_each_replica_has_as_many_gpus_as_its_server_uses() -> None:
    assert gpus_per_replica(Cluster(GPU=8, CPU=64), served(replicas=2, gpus=4)) == 4
    assert gpus_per_replica(Cluster(GPU=8, CPU=64), served(replicas=2)) == 1
    assert gpus_per_replica(Cluster(CPU=64), served(replicas=2)) == 0
    assert gpus_per_replica(Cluster(GPU=8, CPU=64), served(replicas=2, gpus=0)) == 0
    with pytest.raises(EvaluationError, match=r"engine\.replicas is 3 with 4 GPUs each, but Ray has 8 GPUs") as caught:
        gpus_per_replica(Cluster(GPU=8, CPU=64), served(replicas=3, gpus=4))
    assert caught.value.hint == "Set engine.replicas: 2."
