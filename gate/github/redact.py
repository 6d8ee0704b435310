"""Secrets of the job's environment never appear in what is published, even where a model says one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from gate.report.result import Result, to_json

_SECRET = re.compile(
    r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|PRIVATE_KEY|CREDENTIALS?)$", re.I
)
_SHORTEST = 8


def secrets_of(environment: Mapping[str, str], *more: str | None) -> list[str]:
    """Return the values of variables that are named like secrets, longest first."""
    found = {value.strip() for key, value in environment.items() if _SECRET.search(key)}
    found |= {value.strip() for value in more if value}
    return sorted((value for value in found if len(value) >= _SHORTEST), key=len, reverse=True)


def redact(result: Result, secrets: Iterable[str]) -> Result:
    """Return the result with `***` for every secret."""
    text = clean = to_json(result)
    for secret in secrets:
        clean = clean.replace(json.dumps(secret, ensure_ascii=False)[1:-1], "***")
    return result if clean == text else Result.model_validate_json(clean)
