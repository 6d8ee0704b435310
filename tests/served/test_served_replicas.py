"""Replicas of a served engine on Ray: each starts a server of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import ValidationError
from support.opened import silent
from support.started import SCRIPT, tiny_command, wait_for

from gate.config import EngineSettings
from gate.engines import Engine
from gate.engines.cluster import gpus_per_replica
from gate.errors import EvaluationError
from gate.tasks.requests import LoglikelihoodRequest

REQUESTS = [LoglikelihoodRequest(f"the cat number {number} is", (" red", " blue")) for number in range(40)]


def served(**settings: Any) -> EngineSettings:
    return EngineSettings(kind="served", command=tiny_command(), **settings)


def servers() -> list[psutil.Process]:
    """Return the small servers and their supervisors."""
    return [each for each in psutil.process_iter(["cmdline"]) if str(SCRIPT) in (each.info["cmdline"] or ())]


@pytest.mark.exhaustive
def test_two_replicas_answer_like_one_even_if_one_is_killed(start: Callable[..., Engine], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    expected = start().loglikelihood(REQUESTS, silent)
    own = {process.pid for process in servers()}
    replicas = start(replicas=2)
    assert len([each for each in servers() if "supervisor.py" not in " ".join(each.cmdline())]) == len(own) // 2 + 2
    assert os.environ["RAY_AUTH_MODE"] == "token"  # Ray set it
    assert len(list((tmp_path / "logs").glob("replica-*/*.log"))) == 2
    killed: list[int] = []

    def kill_once(_: int) -> None:
        if not killed:
            workers = [each for each in psutil.Process().children(recursive=True) if each.name().startswith("ray::W")]
            killed.append(workers[0].pid)
            workers[0].kill()

    answers = replicas.loglikelihood(REQUESTS, kill_once)
    assert [each.loglikelihoods for each in answers] == [
        pytest.approx(each.loglikelihoods, abs=1e-4) for each in expected
    ]
    assert killed
    assert replicas.runtime.stack["replicas"] == "2"
    replicas.close()  # type: ignore[attr-defined]
    wait_for(lambda: {process.pid for process in servers()} <= own, 30)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"replicas": 2, "gpus": [0, 1]}, "gpus must be a number with replicas"),
        ({"gpus": 2}, "gpus must be a list of numbers without replicas"),
        ({"replicas": 2, "port": 8000}, "port must be auto with replicas"),
    ],
)
def test_settings_that_do_not_fit_replicas_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        served(**settings)


def test_a_ray_that_does_not_start_is_an_error(start: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def time_out(**_: Any) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", time_out)
    with pytest.raises(EvaluationError, match="Ray on this machine cannot be reached or started: The current node"):
        start(replicas=2)


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
