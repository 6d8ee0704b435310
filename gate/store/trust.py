"""Trust in a shared store: which processes may write to it, and the signatures of its sets."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gate.common.caches import cache_folder
from gate.errors import ConfigError

KEY = "GATE_STORE_KEY"
WRITE = "GATE_STORE_WRITE"
Role = Literal["baseline", "candidate"]
SIGNATURE = "manifest.sig"
_MIN_KEY_LENGTH = 32
_UNTRUSTED_EVENTS = (
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
    """Whether this process may write baselines and history to a shared store, and the reason."""

    allowed: bool
    reason: str


def write_policy(environment: Mapping[str, str] | None = None) -> WritePolicy:
    """Decide whether this process may write to a shared store.

    In GitHub Actions, only runs of the default branch or of a protected ref may write, and never runs that a pull
    request can influence: a pull request could otherwise write the baseline it is compared with. Elsewhere (a laptop,
    another CI) everyone with credentials may write. `GATE_STORE_WRITE=never` or `always` overrides the rule.

    This prevents mistakes in honest workflows. Code of a pull request can use all credentials of its job: give write
    access to the store, and the signing key, only to jobs of protected branches.

    Raises
    ------
    ConfigError
        `GATE_STORE_WRITE` is not auto, never or always.
    """
    env = os.environ if environment is None else environment
    setting = env.get(WRITE) or "auto"
    if setting not in ("auto", "never", "always"):
        raise ConfigError(f"{WRITE}={setting!r}: expected auto, never or always.", "Correct the variable, or unset it.")
    if setting != "auto":
        return WritePolicy(setting == "always", f"{WRITE} is {setting}")
    if env.get("GITHUB_ACTIONS") != "true":
        return WritePolicy(True, "not in GitHub Actions")
    event = env.get("GITHUB_EVENT_NAME", "")
    if event in _UNTRUSTED_EVENTS:
        return WritePolicy(False, f"a {event} run may read the store, not write to it")
    ref = env.get("GITHUB_REF", "")
    if env.get("GITHUB_REF_PROTECTED") == "true":
        return WritePolicy(True, f"{ref} is protected")
    default = _default_branch(env)
    if default is not None and ref == f"refs/heads/{default}":
        return WritePolicy(True, f"{ref} is the default branch")
    return WritePolicy(False, f"{ref or 'the ref'} is neither protected nor the default branch")


def store_key(environment: Mapping[str, str] | None = None) -> bytes | None:
    """Return the key that sets are signed with; None if there is none.

    Raises
    ------
    ConfigError
        The key is too short.
    """
    env = os.environ if environment is None else environment
    key = env.get(KEY, "").strip()
    if not key:
        return None
    if len(key) < _MIN_KEY_LENGTH:
        raise ConfigError(
            f"{KEY} has {len(key)} characters; expected at least {_MIN_KEY_LENGTH}.",
            "Create one with `openssl rand -hex 32`.",
        )
    return key.encode()


def sign(key: bytes, path: str, manifest: bytes) -> str:
    """Return the HMAC-SHA256 (hexadecimal) of a manifest and its path in the store.

    The manifest holds the hash of every data file, so the signature covers the whole set. The path holds the role, so
    that a candidate's set cannot be passed off as a baseline's.
    """
    return hmac.new(key, b"quantgate set\n" + path.encode() + b"\n" + manifest, hashlib.sha256).hexdigest()


def is_signed(key: bytes, path: str, manifest: bytes, signature: str) -> bool:
    """Return whether a signature is that of a manifest at a path."""
    return hmac.compare_digest(sign(key, path, manifest).encode(), signature.strip().encode())


def sign_record(key: bytes, series: str, number: int, content: bytes) -> str:
    """Return the HMAC-SHA256 (hexadecimal) of a record of the history and its number within its series, from 1.

    The number is covered, so that records can be neither invented, removed in between, repeated nor reordered.
    """
    place = f"{series}/{number}".encode()
    return hmac.new(key, b"quantgate run\n" + place + b"\n" + content, hashlib.sha256).hexdigest()


class WorkSeal:
    """Signs the unfinished work of this process, and recognises what it may resume.

    The key is `GATE_STORE_KEY`; without it, a random key of this user in quantgate's cache folder. Work of a candidate
    must be signed: rows that somebody planted in the workspace would otherwise decide the verdict. Work of a baseline
    must be signed only if `GATE_STORE_KEY` is set, because the complete baseline is then signed too.

    Attributes
    ----------
    required : bool
        Whether work without a valid signature is evaluated again.
    """

    def __init__(self, role: Role) -> None:
        key = store_key()
        self.required = key is not None or role == "candidate"
        self._role = role
        self._key = key or _user_key()

    def sign(self, folder: Path, content: bytes) -> str:
        """Return the HMAC-SHA256 (hexadecimal) of unfinished work for a set's folder."""
        place = f"{self._role}/{folder.parent.name}/{folder.name}".encode()
        return hmac.new(self._key, b"quantgate work\n" + place + b"\n" + content, hashlib.sha256).hexdigest()

    def accepts(self, folder: Path, content: bytes, signature: str) -> bool:
        """Return whether unfinished work may be resumed."""
        expected = self.sign(folder, content)
        return not self.required or hmac.compare_digest(expected.encode(), signature.strip().encode())


def _user_key() -> bytes:
    """Return this user's key for unfinished work; a new one if there is none that only this user can read.

    A key that is readable by others may come with a checkout, whose files Git never makes private. If no key can be
    stored, it lasts for this process only.
    """
    path = cache_folder() / "work.key"
    with suppress(OSError):
        if path.stat().st_mode & 0o077 == 0 and len(key := path.read_bytes()) >= _MIN_KEY_LENGTH:
            return key
    key = secrets.token_hex(32).encode()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key)
    return key


def _default_branch(env: Mapping[str, str]) -> str | None:
    """Return the repository's default branch from the event's payload; None if the payload does not name it."""
    try:
        payload = json.loads(Path(env["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
        branch = payload["repository"]["default_branch"]
    except (KeyError, OSError, ValueError, TypeError, RecursionError):
        return None
    return branch if isinstance(branch, str) else None
