"""Which processes may write to a shared store, and its signing key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.store.trust import store_key, write_policy

KEY = "k" * 32


def test_a_short_key_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert store_key({}) is None
    assert store_key({"GATE_STORE_KEY": f" {KEY}\n"}) == KEY.encode()
    with pytest.raises(ConfigError, match="7 characters") as caught:
        store_key({"GATE_STORE_KEY": "hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({}, False),
        ({"GITHUB_EVENT_NAME": "push", "GITHUB_REF_PROTECTED": "true"}, True),
        ({"GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/trunk"}, True),
        ({"GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/feature"}, False),
        ({"GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/tags/trunk"}, False),
        ({"GITHUB_EVENT_NAME": "schedule", "GITHUB_REF": "refs/heads/trunk"}, True),
        ({"GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF_PROTECTED": "true"}, False),
        ({"GITHUB_EVENT_NAME": "pull_request_target", "GITHUB_REF": "refs/heads/trunk"}, False),
        ({"GITHUB_EVENT_NAME": "merge_group", "GITHUB_REF_PROTECTED": "true"}, False),
        ({"GITHUB_EVENT_NAME": "workflow_run", "GITHUB_REF": "refs/heads/trunk"}, False),
        ({"GITHUB_EVENT_NAME": "pull_request", "GATE_STORE_WRITE": "always"}, True),
        ({"GITHUB_EVENT_NAME": "push", "GITHUB_REF_PROTECTED": "true", "GATE_STORE_WRITE": "never"}, False),
        ({"GITHUB_ACTIONS": ""}, True),
    ],
)
def test_who_may_write(tmp_path: Path, changes: dict[str, str], allowed: bool) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"repository": {"default_branch": "trunk"}}))
    environment = {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": str(event), **changes}
    policy = write_policy(environment)
    assert policy.allowed == allowed, policy.reason


@pytest.mark.parametrize("payload", ["", "[]", "{}", '{"repository": null}', '{"repository": {"default_branch": 1}}'])
def test_an_event_without_the_default_branch_does_not_allow_writing(tmp_path: Path, payload: str) -> None:
    (tmp_path / "event.json").write_text(payload)
    environment = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "push",
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
    }
    assert not write_policy(environment).allowed


def test_an_unknown_write_policy_is_an_error() -> None:
    with pytest.raises(ConfigError, match="expected auto, never or always"):
        write_policy({"GATE_STORE_WRITE": "yes"})
