"""Exit code 1 means degradation and nothing else: no terminal, a full disk, a signal, a panic of a library."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_gate
from support.exhaustive import mostly_exhaustive
from support.fake_github import HOME, TOKEN, FakeGitHub
from support.runner import as_runner, read_outputs
from support.tiny import TINY_TASK, write_gate_yml, write_tiny_project, write_tiny_task

from gate.cli.main import main
from gate.common.termination import handle_termination, is_termination

GATE = [sys.executable, "-m", "gate"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize(
    ("stream", "command", "code"), [("stderr", ["run", "-c", "nope"], 2), ("stdout", ["schema"], 4)]
)
def test_full_disk_behind_a_stream(stream: str, command: list[str], code: int) -> None:
    with Path("/dev/full").open("w") as full:
        assert subprocess.run([*GATE, *command], **{stream: full}, check=False).returncode == code


@pytest.mark.parametrize(
    ("closed", "command", "code"), [("stderr", ["run", "-c", "nope"], 2), ("stdout", ["schema"], 4)]
)
def test_reader_of_a_stream_went_away(closed: str, command: list[str], code: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = subprocess.run([*GATE, *command], **{closed: writing}, check=False)
    finally:
        os.close(writing)
    assert process.returncode == code


def test_evaluation_completes_although_its_log_cannot_be_written(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_tiny_project(tmp_path, tiny_model, tiny_model))
    out = io.StringIO()
    full = Path("/dev/full").open("w", buffering=1)  # noqa: SIM115 - closing it fails too
    with redirect_stdout(out), redirect_stderr(full), pytest.raises(SystemExit) as stopped:
        main(["run"])
    with suppress(OSError):
        full.close()
    assert stopped.value.code == 0
    assert "PASS" in out.getvalue()


_STUCK = """
import importlib, sys, time
def stuck(*arguments):
    print("stuck", flush=True)
    {wait}
setattr(importlib.import_module("{module}"), "{function}", stuck)
from gate.cli.main import main
from gate.common.termination import handle_termination, is_termination
main(sys.argv[1:])
"""
# the second is outside Python, where no exception can be raised: a regular expression without an end
_SLEEP, _MATCH = "time.sleep(60)", "import re; re.match('(a|a)*$', 'a' * 60 + '!')"
_WAITS = {"in Python": _SLEEP, "outside Python": _MATCH}
# before the first, nothing has imported torch, which takes seconds
_PLACES = {"loading": ("gate.app.models", "open_engine"), "answering": ("gate.evaluation.evaluate", "answer_items")}


def _cases(often: str) -> list[Any]:
    """Return every way to wait at every place; all but one only in the exhaustive run."""
    return mostly_exhaustive((f"{place}, {wait}" for place in _PLACES for wait in _WAITS), [often])


def _stuck(
    case: str, *arguments: str, cwd: Path, env: dict[str, str] | None = None, start: Sequence[str] = ()
) -> subprocess.Popen[str]:
    place, wait = case.split(", ")
    module, function = _PLACES[place]
    code = _STUCK.format(wait=_WAITS[wait], module=module, function=function)
    return subprocess.Popen(
        [*start, sys.executable, "-c", code, *arguments],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("case", _cases("loading, outside Python"))
def test_sigterm_ends_a_run_within_seconds(tmp_path: Path, tiny_model: Path, case: str) -> None:
    write_tiny_project(tmp_path, tiny_model, tiny_model)
    process = _stuck(case, "baseline", cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "stuck\n"
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=10)
    assert process.returncode == 143
    assert log.splitlines()[-1] == "terminated; completed work is kept, and the same command resumes"
    assert run_gate("baseline", "-c", tmp_path / "gate.yml").code == 0


def test_sigterm_is_known_as_the_cause_if_a_library_replaces_the_exception() -> None:
    with handle_termination():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        assert is_termination(KeyboardInterrupt())  # Ray raises a new one
    with handle_termination():
        assert not is_termination(KeyboardInterrupt())


@pytest.mark.parametrize("case", _cases("loading, in Python"))
def test_sigterm_in_the_action_sets_the_outputs(tmp_path: Path, tiny_model: Path, case: str) -> None:
    write_tiny_project(tmp_path, tiny_model, tiny_model)
    output, summary = tmp_path / "output", tmp_path / "summary"
    (tmp_path / "event.json").write_text("{}")
    environment = {
        **os.environ,
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "push",
        "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_OUTPUT": str(output),
        "GITHUB_STEP_SUMMARY": str(summary),
        **as_runner(status_context=""),
    }
    process = _stuck(case, "action", cwd=tmp_path, env=environment)
    assert process.stdout is not None
    assert any(line == "stuck\n" for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 143
    assert read_outputs(output)["verdict"] == "ERROR"
    assert read_outputs(output)["exit-code"] == "143"
    assert "cancelled" in summary.read_text()


@pytest.mark.exhaustive
@pytest.mark.skipif(os.getuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
@pytest.mark.parametrize("wait", _WAITS)
def test_sigterm_to_the_first_process_of_a_container(
    tmp_path: Path, tiny_model: Path, github: FakeGitHub, wait: str
) -> None:
    """The kernel ignores signals without a handler there. No older status of the commit remains."""
    write_tiny_project(tmp_path, tiny_model, tiny_model)
    environment = {
        **os.environ,
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "schedule",
        "GITHUB_REPOSITORY": HOME,
        "GITHUB_SHA": "9" * 40,
        "GITHUB_API_URL": github.url,
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        **as_runner(status="status", github_token=TOKEN),
    }
    github.statuses.append({"state": "success", "context": "quantgate", "sha": "9" * 40})  # of an earlier run
    process = _stuck(
        f"answering, {wait}",
        "action",
        cwd=tmp_path,
        env=environment,
        start=["unshare", "--pid", "--fork", "--mount-proc"],
    )
    assert process.stdout is not None
    assert any(line == "stuck\n" for line in process.stdout)
    (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert "NSpid:" in (status := Path(f"/proc/{first}/status").read_text())
    assert status.split("NSpid:")[1].split("\n")[0].split()[-1] == "1"
    began = time.monotonic()
    os.kill(int(first), signal.SIGTERM)
    process.communicate(timeout=15)
    assert time.monotonic() - began < 10  # 4 seconds of grace, and a busy machine
    assert process.returncode == 143
    assert read_outputs(tmp_path / "output")["exit-code"] == "143"
    assert [one["state"] for one in github.statuses] == ["success", "pending", "error"]
    assert run_gate("run", "-c", tmp_path / "gate.yml").code == 0  # the store is valid


def _set_tokenizer(model: Path, target: Path, **changes: object) -> Path:
    """Copy a model and change entries of its tokenizer.json."""
    target.mkdir()
    for file in model.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    path = target / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return target


def test_panic_of_the_tokenizers_library_is_no_degradation(tmp_path: Path, tiny_model: Path) -> None:
    """A fixed length of 0 makes the library panic when it splits a text; a panic is not an Exception."""
    write_tiny_task(tmp_path / "items.jsonl", 4)
    broken = _set_tokenizer(tiny_model, tmp_path / "broken", pre_tokenizer={"type": "FixedLength", "length": 0})
    config = write_gate_yml(tmp_path, str(tiny_model), str(broken), tasks=[TINY_TASK])
    code, _, log = run_gate("evaluate", broken, "-c", config, "-o", tmp_path / "out")
    assert code == 4
    assert "stopped with an internal error" in log
