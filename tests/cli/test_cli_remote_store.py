"""The main job with its store on an S3 server: a baseline made once, read by all, written by few."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tiny import write_gate_yml, write_tiny_task

from gate.cli.main import main

pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def project(
    tmp_path: Path, tiny_model: Path, other_tiny_model: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> Path:
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "GATE_CACHE": str(tmp_path / "machine1"),
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("GATE_STORE_KEY", "GATE_STORE_WRITE", "GITHUB_ACTIONS", "GITHUB_EVENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    bucket = f"gate-{abs(hash(str(tmp_path)))}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    shutil.copytree(tiny_model, tmp_path / "base")
    shutil.copytree(other_tiny_model, tmp_path / "other")
    write_tiny_task(tmp_path / "items.jsonl")
    spending = {"alpha_spending": {"kind": "yearly"}}
    write_gate_yml(tmp_path, "base", "other", samples={"store": f"s3://{bucket}/gate"}, decision=spending)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and standard error of `gate run`."""
    with pytest.raises(SystemExit) as left:
        main(["run"])
    assert isinstance(left.value.code, int)
    return left.value.code, capsys.readouterr().err


def test_a_baseline_is_evaluated_once_for_all_machines(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE_STORE_KEY", "k" * 32)
    code, err = run(capsys)
    assert code == 0, err
    assert "baseline base: evaluating animals" in err
    assert "uploaded to s3://" in err
    first = json.loads((project / "gate-result.json").read_text())

    monkeypatch.setenv("GATE_CACHE", str(project / "machine2"))
    code, err = run(capsys)
    assert code == 0, err
    assert "fetched from s3://" in err
    assert "1 task(s) from the cache" in err
    assert json.loads((project / "gate-result.json").read_text())["tasks"] == first["tasks"]
    with pytest.raises(SystemExit):
        main(["history", "-f", "jsonl"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["verdict"] for line in lines] == ["PASS", "PASS"]


def test_a_pull_request_cannot_make_the_baseline(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_EVENT_NAME", "pull_request")
    code, err = run(capsys)
    assert code == 0, err
    assert "a pull_request run may read the store, not write to it" in err
    monkeypatch.setenv("GITHUB_EVENT_NAME", "push")
    monkeypatch.setenv("GITHUB_REF_PROTECTED", "true")
    code, err = run(capsys)  # on the same runner, with what the pull request left there
    assert code == 0, err
    assert "baseline base: evaluating animals" in err
    assert "uploaded to s3://" in err
