"""The cache key of the baseline's samples."""

from __future__ import annotations

from dataclasses import dataclass

from gate.app.models import locate_model
from gate.common.canonical import digest
from gate.config import LoadedConfig
from gate.evaluation.recording import Recording
from gate.samples import SCHEMA_VERSION
from gate.tasks import build_suite


@dataclass(frozen=True)
class Fingerprint:
    """The key, and the JSON-ready facts that it is a hash of."""

    key: str
    parts: dict[str, object]
    baseline: str
    engine: str


def fingerprint(loaded: LoadedConfig) -> Fingerprint:
    """Return the cache key of the baseline's samples: 64 hexadecimal digits.

    It covers the baseline's weights, tokenizer, dtype and engine with its libraries, the tasks, and the version of the
    sample format. It does not depend on the candidate.
    """
    config = loaded.config
    identity = locate_model(loaded, config.baseline).identity
    suite = build_suite(config, loaded.folder)
    parts: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "model": identity.fingerprint,
        "tasks": {task.name: task.fingerprint for task in suite},
        "kl_top": config.distance.kl_top if config.distance.kl else 0,
        "kl_sampled": config.distance.kl_sampled if config.distance.kl else 0,
        "kl_positions": config.distance.kl_positions if config.distance.kl else 0,
    }
    if config.distance.kl and any(task.generates for task in suite):
        parts["kl_texts"] = Recording.of(config).texts
    return Fingerprint(digest(parts), parts, identity.name, identity.engine)
