"""Replicas on a local Ray cluster of two CPU workers: the answers of one engine, even if a worker is killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.exhaustive import mostly_exhaustive
from support.opened import open_model, silent

from gate.config import EngineSettings, ModelSettings
from gate.engines import Engine, fetch, locate, open_engine
from gate.engines.replicas import Places, ReplicaEngine, Worker, split
from gate.errors import ConfigError, EvaluationError, ModelError
from gate.tasks import Message
from gate.tasks.requests import GenerateRequest, LoglikelihoodRequest, RollingRequest

ray = pytest.importorskip("ray")
slow = pytest.mark.slow

CHOICES = [
    LoglikelihoodRequest(f"Q: Which animal is number {number}?\nA:", (" cat", " dog", " big bird"), top=5)
    for number in range(200)
]


class LethalRequest(LoglikelihoodRequest):
    """Kills the process that unpickles it, like a request that needs too much memory."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return eval, ("__import__('os').kill(__import__('os').getpid(), 9)",)


@pytest.fixture(scope="module")
def single(tiny_model: Path) -> Engine:
    return open_model(tiny_model)


@pytest.fixture(scope="module")
def replicas(tiny_model: Path) -> Iterator[ReplicaEngine]:
    engine = cast(ReplicaEngine, open_model(tiny_model, {"replicas": 2}))
    yield engine
    engine.close()


def worker_processes() -> set[int]:
    """Return the ids of the processes that run a `Worker`."""
    children = psutil.Process().children(recursive=True)
    return {child.pid for child in children if child.name().startswith("ray::Worker")}


@given(count=st.integers(0, 5000), replicas=st.integers(1, 64))
def test_chunks_cover_each_request_once_in_order(count: int, replicas: int) -> None:
    chunks = split(count, replicas)
    assert [number for chunk in chunks for number in range(chunk.start, chunk.stop)] == list(range(count))
    sizes = [chunk.stop - chunk.start for chunk in chunks]
    assert not sizes or (min(sizes) >= 1 and max(sizes) - min(sizes) <= 1 and max(sizes) <= 256)
    assert len(chunks) >= min(count, replicas)


# runs first, before the fixture connects
@slow
def test_an_unreachable_cluster_is_an_error(tiny_model: Path) -> None:
    with pytest.raises(EvaluationError, match=r"the Ray cluster 127\.0\.0\.1:9 cannot be reached"):
        open_model(tiny_model, {"replicas": 2, "address": "127.0.0.1:9"})


@slow
def test_replicas_give_the_answers_of_one_engine(single: Engine, replicas: ReplicaEngine) -> None:
    progress: list[int] = []
    ours, theirs = single.loglikelihood(CHOICES, silent), replicas.loglikelihood(CHOICES, progress.append)
    for a, b in zip(ours, theirs, strict=True):
        assert b.loglikelihoods == pytest.approx(a.loglikelihoods, abs=1e-4)
        assert (a.tokens_in, a.tokens_out, a.greedy) == (b.tokens_in, b.tokens_out, b.greedy)
        assert a.distribution is not None
        assert b.distribution is not None
        assert b.distribution.logprobs == pytest.approx(a.distribution.logprobs, abs=0.02)
    assert sum(progress) == len(CHOICES)
    texts = [GenerateRequest(f"the {animal}", ("\n",), 8) for animal in ("cat", "dog", "bird", "fish", "cat runs")]
    assert replicas.generate_until(texts, silent) == single.generate_until(texts, silent)
    whole = [RollingRequest("the cat sees a dog"), RollingRequest("one two")]
    for a, b in zip(
        single.loglikelihood_rolling(whole, silent),
        replicas.loglikelihood_rolling(whole, silent),
        strict=True,
    ):
        assert b.loglikelihood == pytest.approx(a.loglikelihood, abs=1e-3)
        assert b.tokens == a.tokens
    assert replicas.loglikelihood([], silent) == []
    chat = [Message("user", "What is one?")]
    assert replicas.render_chat(chat) == single.render_chat(chat)


@slow
@pytest.mark.parametrize(
    "environment",
    mostly_exhaustive([{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token"}], [{"RAY_AUTH_MODE": "disabled"}]),
    ids=str,
)
def test_the_control_port_refuses_a_program_without_the_token(
    replicas: ReplicaEngine, environment: dict[str, str], tmp_path: Path
) -> None:
    """Ray listens on all interfaces: whoever reaches the port could run code."""
    assert replicas.runtime
    code = (
        "import sys; from ray._raylet import GcsClient; client = GcsClient(address=sys.argv[1]); "
        "print('added', client.internal_kv_put(b'x', b'y', True, None, 5))"
    )
    address = ray.get_runtime_context().gcs_address

    def outcome(changed: dict[str, str]) -> subprocess.CompletedProcess[str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        command = [sys.executable, "-c", code, address]
        return subprocess.run(command, env=own | changed, capture_output=True, text=True, timeout=120, check=False)

    assert outcome({"RAY_AUTH_MODE": "token"}).stdout.startswith("added")  # this user has the token
    stranger = outcome({"HOME": str(tmp_path), **environment})
    assert stranger.returncode != 0
    assert "added" not in stranger.stdout


@slow
def test_the_runtime_reports_the_number_of_replicas(single: Engine, replicas: ReplicaEngine) -> None:
    assert replicas.runtime.hardware.startswith("2 replicas, each ")
    assert replicas.runtime.tokenizer == single.runtime.tokenizer
    assert replicas.runtime.end_tokens == single.runtime.end_tokens
    assert replicas.runtime.versions["ray"] == ray.__version__
    assert len(worker_processes()) == 2


@slow
def test_the_requests_of_a_killed_worker_are_repeated(
    single: Engine, replicas: ReplicaEngine, caplog: pytest.LogCaptureFixture
) -> None:
    before = worker_processes()
    killed = min(before)
    progress: list[int] = []

    def kill_once(count: int) -> None:
        if not progress:  # both workers have further chunks to answer
            psutil.Process(killed).kill()
        progress.append(count)

    theirs = replicas.loglikelihood(CHOICES, kill_once)
    for a, b in zip(single.loglikelihood(CHOICES, silent), theirs, strict=True):
        assert b.loglikelihoods == pytest.approx(a.loglikelihoods, abs=1e-4)
    assert sum(progress) == len(CHOICES)
    after = worker_processes()
    assert before - after == {killed}
    assert len(after) == 2
    assert "are repeated" in caplog.text
    assert len(replicas.loglikelihood(CHOICES, silent)) == len(CHOICES)


@pytest.mark.exhaustive
@slow
def test_a_chat_is_rendered_although_every_worker_was_killed(single: Engine, replicas: ReplicaEngine) -> None:
    killed = worker_processes()
    for process in killed:
        psutil.Process(process).kill()
    chat = [Message("user", "What is one?")]
    assert replicas.render_chat(chat) == single.render_chat(chat)
    assert len(worker_processes() - killed) == 2


@pytest.mark.exhaustive
@slow
def test_requests_that_kill_every_worker_are_an_error_that_quotes_them(replicas: ReplicaEngine) -> None:
    with pytest.raises(EvaluationError, match="3 Ray workers in succession died while answering requests 1 to 1 of 1"):
        replicas.loglikelihood([LethalRequest("the poisoned cat", (" runs",))], silent)
    assert len(replicas.loglikelihood(CHOICES[:4], silent)) == 4


@slow
def test_errors_for_the_user_are_raised_unchanged(replicas: ReplicaEngine) -> None:
    requests = [LoglikelihoodRequest("the", (" cat" * 400,))]
    with pytest.raises(EvaluationError, match="the model reads at most") as caught:
        replicas.loglikelihood(requests, silent)
    assert caught.value.hint == "Shorten the choices or use a model with a longer context."


@pytest.fixture
def broken_model(tiny_model: Path, tmp_path: Path) -> Path:
    """A model without one of its weights."""
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("model.norm.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_worker_returns_the_error_of_a_broken_model(broken_model: Path, tmp_path: Path) -> None:
    settings = EngineSettings(device="cpu")
    source = fetch(locate(ModelSettings(model=str(broken_model)), tmp_path), settings, tmp_path, None)
    error = Worker(source, settings, 1, Places(tmp_path, tmp_path / "logs")).open()
    assert isinstance(error, ModelError)
    assert "the checkpoint lacks 1 weights" in str(error)


@pytest.mark.exhaustive
@slow
def test_a_broken_model_is_the_same_error_as_without_ray(broken_model: Path) -> None:
    with pytest.raises(ModelError, match="the checkpoint lacks 1 weights"):
        open_model(broken_model, {"replicas": 2})


@slow
def test_more_replicas_than_gpus_is_an_error(tiny_model: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("has GPUs")
    with pytest.raises(EvaluationError, match=r"engine\.replicas is 2, but Ray has 0 GPUs"):
        open_model(tiny_model, {"replicas": 2, "device": "cuda"})


@pytest.mark.parametrize("device", ["balanced", "cuda:1"])
def test_devices_that_are_unavailable_to_replicas(tiny_model: Path, device: str) -> None:
    settings = EngineSettings(replicas=2, device=device)
    source = fetch(locate(ModelSettings(model=str(tiny_model)), tiny_model), settings, tiny_model, None)
    with pytest.raises(ConfigError, match="each of 2 replicas has one GPU of its own"):
        open_engine(source, settings)
