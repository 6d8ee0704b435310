"""A server that the gate starts answers like the model itself, and never outlives the gate."""

from __future__ import annotations

import gc
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import run_gate
from support.opened import open_model, silent
from support.started import processes_with, tiny_command, wait_for
from support.tiny import TINY_TASK

from gate.engines import Engine, close_engine
from gate.engines.served import engine as engine_module
from gate.engines.served import process as process_module
from gate.engines.served.log import Log
from gate.engines.served.ports import choose_port
from gate.errors import ConfigError, EvaluationError, ModelError, StartError
from gate.tasks.requests import GenerateRequest, LoglikelihoodRequest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")

Start = Callable[..., Engine]
REQUESTS = [LoglikelihoodRequest("the cat is ", ("red", "blue")), LoglikelihoodRequest("the dog eats", (" the fish",))]


def test_a_started_server_scores_as_the_transformers_engine(start: Start, weights: Path) -> None:
    messages: list[str] = []
    served = start(messages=messages)
    for ours, theirs in zip(
        open_model(weights).loglikelihood(REQUESTS, silent), served.loglikelihood(REQUESTS, silent), strict=True
    ):
        assert theirs.loglikelihoods == pytest.approx(ours.loglikelihoods, abs=1e-4)
    assert served.runtime.stack["engine"] == "served"
    assert served.runtime.stack["server"] == "vllm 0.0.tiny"
    assert served.runtime.weights_bytes == (weights / "model.safetensors").stat().st_size
    assert messages[0].startswith(f"  starting tiny_server.py for {weights}")
    assert messages[-1].startswith("  tiny_server.py is ready after")


@pytest.mark.exhaustive
def test_closing_ends_deaf_servers_and_daemons(start: Start, mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module.ServerProcess.__init__, "__defaults__", (0.5,))  # the grace period
    served = start("--deaf", "--orphan")
    assert len(processes_with(mark)) >= 3  # supervisor, server, daemon
    close_engine(served)
    assert processes_with(mark) == []
    close_engine(served)  # a second time does nothing


@pytest.mark.exhaustive
def test_a_server_ends_with_its_engine_object(start: Start, mark: str, tmp_path: Path, weights: Path) -> None:
    from gate.config import EngineSettings, ModelSettings
    from gate.engines import Context, fetch, locate, open_engine

    settings = EngineSettings(kind="served", command=tiny_command())
    source = fetch(locate(ModelSettings(model=str(weights)), tmp_path, settings), settings, tmp_path, None)
    engine = open_engine(source, settings, Context(tmp_path, tmp_path / "logs"))
    assert processes_with(mark)
    del engine
    gc.collect()
    assert processes_with(mark) == []


@pytest.mark.exhaustive
def test_a_server_that_died_is_started_once_more_and_the_answers_are_complete(start: Start, tmp_path: Path) -> None:
    messages: list[str] = []
    served = start("--die=12", f"--state={tmp_path / 'died'}", messages=messages)
    requests = [GenerateRequest(f"the dog {number}", (), 2) for number in range(24)]
    progress: list[int] = []
    answers = served.generate_until(requests, progress.append)
    assert any("died (exit code 7); it is started once more" in message for message in messages)
    assert sum(progress) == 24
    assert answers == start().generate_until(requests, silent)


@pytest.mark.exhaustive
def test_a_server_that_dies_twice_is_an_error_with_the_end_of_its_log(start: Start, mark: str) -> None:
    served = start("--die=12")
    with pytest.raises(EvaluationError, match="died again") as caught:
        served.generate_until([GenerateRequest(f"the dog {number}", (), 2) for number in range(24)], silent)
    assert "(exit code 7)" in caught.value.message
    assert "    | RuntimeError: the engine core died" in caught.value.message
    assert processes_with(mark) == []


# a start that fails


def test_a_server_that_runs_out_of_memory_says_so(start: Start, mark: str) -> None:
    with pytest.raises(EvaluationError, match="it ran out of memory") as caught:
        start("--fail=torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 16 GiB")
    assert "before it was ready (exit code 1" in caught.value.message
    assert "    | torch.OutOfMemoryError: CUDA out of memory" in caught.value.message
    assert "--gpu-memory-utilization" in str(caught.value.hint)
    assert processes_with(mark) == []


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("error: unrecognized arguments: --kv-cache-dtipe", 2, "does not accept its arguments"),
        ("ModuleNotFoundError: No module named 'vllm'", 2, "the Python module vllm is missing"),
        ("OSError: [Errno 98] Address already in use", 4, "its port is taken"),
        ("something else", 4, r"before it was ready \(exit code 1\)"),
    ],
)
def test_the_log_of_a_failed_start_gives_the_cause(start: Start, text: str, code: int, message: str) -> None:
    with pytest.raises(StartError, match=message) as caught:
        start(f"--fail={text}")
    assert caught.value.exit_code == code


def test_the_first_exception_of_a_log_comes_before_its_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_text(
        "WARNING: a low limit can cause errors like `OSError: [Errno 24] Too many open files`\n"
        "INFO retrying on ConnectionError: will try 3 times\n"
        "WARNING falling back after ImportError: flash_attn is not installed\n"
        "(Worker pid=9) ERROR 11-27 21:55:05 [multiproc.py:9] ValueError: Marlin FP4 not available\n"
        + "".join(f"(EngineCore pid=8) ERROR [core.py:1] line {number}\n" for number in range(20))
        + "RuntimeError: See root cause above.\n"
    )
    lines = Log(path, whole=True).tail().splitlines()
    assert lines[0] == "An earlier error in its log: ValueError: Marlin FP4 not available"
    assert lines[1:3] == [f"The end of its log, {path}:", "    | (EngineCore pid=8) ERROR [core.py:1] line 6"]
    path.write_text("ValueError: Marlin FP4 not available\n")
    assert Log(path, whole=True).tail().splitlines()[0] == f"The end of its log, {path}:"


def test_a_server_that_is_not_ready_in_time_is_stopped(start: Start, mark: str) -> None:
    messages: list[str] = []
    with pytest.raises(EvaluationError, match=r"was not ready after 1 s \(http://127\.0\.0\.1:\d+/v1/models") as caught:
        start("--never-ready", startup_timeout=1, messages=messages)
    assert "    | loading " in caught.value.message
    assert "engine.startup_timeout" in str(caught.value.hint)
    assert processes_with(mark) == []


def test_a_taken_port_is_an_error_before_the_start(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EvaluationError, match=f"engine.port is {port}, but this port"):
            start(port=port)


@pytest.mark.exhaustive
def test_a_stranger_that_takes_the_port_during_the_start_is_not_asked(
    start: Start, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        ports = iter([stranger.server_address[1], choose_port("auto")])
        monkeypatch.setattr(engine_module, "choose_port", lambda _: next(ports))
        served = start()  # its first server cannot bind the port, and ends; the second one gets another port
        stranger.shutdown()
    assert served.runtime.stack["server"] == "vllm 0.0.tiny"


def test_a_server_of_another_model_is_refused(start: Start, mark: str) -> None:
    with pytest.raises(ModelError, match="serves another model: something-else; expected first") as caught:
        start("--name=something-else")
    assert "{name}" in str(caught.value.hint)
    assert processes_with(mark) == []


def test_a_missing_program_is_named(start: Start) -> None:
    with pytest.raises(
        ConfigError, match=r"engine\.command: there is no executable program no-such-server on the PATH"
    ):
        start(command=["no-such-server", "{model}", "{port}"])
    with pytest.raises(ConfigError, match=r"engine\.python: there is no executable program \./venv/bin/python"):
        start(preset="vllm", python="./venv/bin/python")


# whole runs


@pytest.mark.exhaustive
def test_the_servers_of_a_run_do_not_overlap(served_project: Callable[..., Path], tmp_path: Path, mark: str) -> None:
    served_project(f"--alone={tmp_path / 'lock'}")
    done = run_gate("run")
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "gate-result.json").read_text())
    assert result["tasks"][0]["n"] == 24
    assert result["candidate"]["stack"]["engine"] == "served"
    assert len(list((tmp_path / ".gate" / "servers").glob("*.log"))) == 2
    assert processes_with(mark) == []


@pytest.mark.exhaustive
def test_finished_tasks_are_kept_when_the_server_dies_twice(
    served_project: Callable[..., Path], tmp_path: Path, mark: str
) -> None:
    tasks = [TINY_TASK, {**TINY_TASK, "name": "again"}]
    # a task takes about 100 requests: the server dies in the second task, and then again in the same one
    served_project("--die=150", f"--state={tmp_path / 'died'}", "--again=20", tasks=tasks)
    done = run_gate("run")
    assert done.code == 4
    assert "task again: model base: the server tiny_server.py died again" in done.err
    assert "RuntimeError: the engine core died" in done.err
    assert processes_with(mark) == []
    assert "1 task(s) from the cache" in run_gate("baseline").err


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGKILL, -9), (signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.exhaustive)],
    ids=["KILL", "TERM", "INT"],
)
def test_no_process_stays_behind_when_the_gate_is_stopped(
    served_project: Callable[..., Path], mark: str, number: signal.Signals, code: int
) -> None:
    folder = served_project("--orphan")
    gate = subprocess.Popen(
        [sys.executable, "-m", "gate", "run"],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background jobs ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_for(lambda: any("ready" in log.read_text() for log in (folder / ".gate" / "servers").glob("*.log")))
    os.kill(gate.pid, number)
    _, err = gate.communicate(timeout=60)
    assert gate.returncode == code, err
    wait_for(lambda: processes_with(mark) == [], 20)  # after kill -9, the supervisor still waits for the daemon


def test_no_process_stays_behind_when_the_gate_is_killed_during_the_start(
    served_project: Callable[..., Path], mark: str
) -> None:
    folder = served_project("--never-ready")
    gate = subprocess.Popen([sys.executable, "-m", "gate", "run"], cwd=folder, stderr=subprocess.DEVNULL)
    wait_for(lambda: list((folder / ".gate" / "servers").glob("*.log")))
    gate.kill()
    gate.wait()
    wait_for(lambda: processes_with(mark) == [], 20)
