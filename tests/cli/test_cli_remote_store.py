"""`gate run` with its store on an S3 server: the baseline is evaluated once, and only trusted runs upload it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.commands import run_gate
from support.s3 import Bucket
from support.tiny import edit_gate_yml

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")


@pytest.fixture
def shared_project(project: Path, bucket: Bucket) -> Path:
    """The project with its store in the bucket, and a history because of `alpha_spending`."""
    # ten runs: at the level of one of 365, eight right answers are too few to show any loss
    edit_gate_yml(project, samples={"store": bucket.url}, decision={"alpha_spending": {"kind": "yearly", "runs": 10}})
    return project


def test_a_baseline_is_evaluated_once_for_all_machines(shared_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_STORE_KEY", "k" * 32)
    code, _, err = run_gate("run")
    assert code == 0, err
    assert "baseline base: evaluating animals" in err
    assert "uploaded to s3://" in err
    first = json.loads((shared_project / "gate-result.json").read_text())

    monkeypatch.setenv("GATE_CACHE", str(shared_project / "machine2"))
    code, _, err = run_gate("run")
    assert code == 0, err
    assert "fetched from s3://" in err
    assert "1 task(s) from the cache" in err
    assert json.loads((shared_project / "gate-result.json").read_text())["tasks"] == first["tasks"]
    records = [json.loads(line) for line in run_gate("history", "-f", "jsonl").out.splitlines()]
    assert [record["verdict"] for record in records] == ["PASS", "PASS"]


def test_a_pull_request_does_not_upload_a_baseline(shared_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_EVENT_NAME", "pull_request")
    code, _, err = run_gate("run")
    assert code == 0, err
    assert "a pull_request run may read the store, not write to it" in err
    monkeypatch.setenv("GITHUB_EVENT_NAME", "push")
    monkeypatch.setenv("GITHUB_REF_PROTECTED", "true")
    # the same runner still has the sets of the pull request
    code, _, err = run_gate("run")
    assert code == 0, err
    assert "baseline base: evaluating animals" in err
    assert "uploaded to s3://" in err
