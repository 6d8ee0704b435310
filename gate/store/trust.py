"""Whose samples may become a baseline: who may write to a shared store, and how a set is signed."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.errors import ConfigError

KEY = "GATE_STORE_KEY"
WRITE = "GATE_STORE_WRITE"
_SHORTEST_KEY = 32
_UNTRUSTED = (
    "pull_request",
    "pull_request_target",
    "pull_request_review",
    "pull_request_review_comment",
    "issue_comment",
    "workflow_run",
    "merge_group",
)


@dataclass(frozen=True)
class WritePolicy:
    """Whether this process may write baselines and history to a shared store, and why."""

    allowed: bool
    reason: str


def write_policy(environment: Mapping[str, str] | None = None) -> WritePolicy:
    """Decide whether this process may write to a shared store.

    In GitHub Actions only a run of the default branch or of a protected ref may, and none that a pull request's
    content can reach: what it wrote would be the baseline of the branch that it is to be judged for. Elsewhere (a
    laptop, another CI) whoever has the credentials may. `GATE_STORE_WRITE=never` or `always` overrides it.

    This keeps honest workflows from mistakes. Code of a pull request can do whatever its job's credentials can: give
    write access to the store, and the signing key, to jobs of protected branches only.

    Parameters
    ----------
    environment : mapping of str to str, optional
        Default: the process's.

    Raises
    ------
    ConfigError
        `GATE_STORE_WRITE` is none of auto, never, always.
    """
    env = os.environ if environment is None else environment
    asked = env.get(WRITE) or "auto"
    if asked not in ("auto", "never", "always"):
        raise ConfigError(f"{WRITE}={asked!r}: expected auto, never or always.")
    if asked != "auto":
        return WritePolicy(asked == "always", f"{WRITE} is {asked}")
    if env.get("GITHUB_ACTIONS") != "true":
        return WritePolicy(True, "not in GitHub Actions")
    event = env.get("GITHUB_EVENT_NAME", "")
    if event in _UNTRUSTED:
        return WritePolicy(False, f"a {event} run may read the store, not write to it")
    ref = env.get("GITHUB_REF", "")
    if env.get("GITHUB_REF_PROTECTED") == "true":
        return WritePolicy(True, f"{ref} is protected")
    default = _default_branch(env)
    if default is not None and ref == f"refs/heads/{default}":
        return WritePolicy(True, f"{ref} is the default branch")
    return WritePolicy(False, f"{ref or 'the ref'} is neither protected nor the default branch")


def store_key(environment: Mapping[str, str] | None = None) -> bytes | None:
    """Return the key that sets are signed with, or None where there is none.

    Raises
    ------
    ConfigError
        The key is too short to be one.
    """
    env = os.environ if environment is None else environment
    key = env.get(KEY, "").strip()
    if not key:
        return None
    if len(key) < _SHORTEST_KEY:
        raise ConfigError(
            f"{KEY} has {len(key)} characters; expected at least {_SHORTEST_KEY}.",
            "Make one with `openssl rand -hex 32`.",
        )
    return key.encode()


def sign(key: bytes, place: str, content: bytes) -> str:
    """Return the HMAC-SHA256 (hexadecimal) of a manifest and of its place in the store.

    The manifest names the hash of every data file, so it stands for the whole set; the place has the role, so that a
    candidate's set cannot be moved to a baseline's.
    """
    return hmac.new(key, b"quantgate set\n" + place.encode() + b"\n" + content, hashlib.sha256).hexdigest()


def is_signed(key: bytes, place: str, content: bytes, signature: str) -> bool:
    """Tell whether a signature is that of a manifest at a place."""
    return hmac.compare_digest(sign(key, place, content).encode(), signature.strip().encode())


def _default_branch(env: Mapping[str, str]) -> str | None:
    """Return the repository's default branch, as the event's payload says; None where it does not."""
    try:
        payload = json.loads(Path(env["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
        found = payload["repository"]["default_branch"]
    except (KeyError, OSError, ValueError, TypeError):
        return None
    return found if isinstance(found, str) else None
