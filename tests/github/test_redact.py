"""Redaction: texts only, whatever the secret's value is; which variables are secrets."""

from __future__ import annotations

import pytest
from results import example

from gate.github.redact import redact, secrets_of
from gate.report import Result, to_json


@pytest.mark.parametrize(
    "name",
    [
        "GATE_STORE_KEY",
        "OPENAI_KEY",
        "OPENAI_API_KEY",
        "HF_TOKEN",
        "INPUT_GITHUB-TOKEN",
        "X_SECRET",
        "PGPASSWORD",
    ],
)
def test_variables_that_are_named_like_secrets(name: str) -> None:
    assert secrets_of({name: "0123456789"}) == ["0123456789"]
    assert secrets_of({name: "1234567"}) == []  # would hide half of the report


@pytest.mark.parametrize("name", ["PATH", "KEYBOARD", "TOKENIZERS_PARALLELISM", "MONKEY"])
def test_variables_that_are_not(name: str) -> None:
    assert secrets_of({name: "0123456789"}) == []


def test_only_texts_are_redacted() -> None:
    """A secret that is also a word of ours, a key or a number breaks nothing."""
    result = example("FAIL")
    secrets = ["advisory", "exact McNemar", "baseline", "fingerprint", "0.05", "quantgate", "regressions"]
    flip = result.flips[0].model_copy(update={"candidate": "it is fingerprint"})
    told = result.model_copy(
        update={"flips": [flip], "reasons": ["advisory"], "baseline": {"fingerprint": ["fingerprint", 1]}}
    )
    clean = redact(told, secrets)
    assert clean.flips[0].candidate == "it is ***"
    assert clean.reasons == ["***"]
    assert clean.baseline == {"fingerprint": ["***", 1]}
    assert [task.test for task in clean.tasks] == [task.test for task in result.tasks]
    assert clean.p_value == result.p_value
    assert Result.model_validate_json(to_json(clean)) == clean


def test_a_secret_with_quotes_and_lines_is_found() -> None:
    secret = 'two\nlines "quoted" \\ back'
    told = example("PASS").model_copy(update={"notes": [f"a {secret} b"]})
    assert redact(told, [secret]).notes == ["a *** b"]
