"""Redaction: which variables are secrets, and that only texts change, whatever the value of a secret."""

from __future__ import annotations

import hashlib

import pytest
from support.binary_results import answers, result_of
from support.html_samples import choice_samples, compare_samples

from gate.report import Result, render, to_json
from gate.report.redact import redact, secrets_of


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
        "GH_PAT",
        "DATABASE_URL",
        "REDIS_URI",
        "AZURE_STORAGE_CONNECTION_STRING",
        "SENTRY_DSN",
        "NPM_AUTH",
    ],
)
def test_variables_named_like_secrets_are_secrets(name: str) -> None:
    assert secrets_of({name: "0123456789"}) == ["0123456789"]
    assert secrets_of({name: "1234567"}) == []  # too short: it would hide half of the report


@pytest.mark.parametrize(
    "name", ["PATH", "KEYBOARD", "TOKENIZERS_PARALLELISM", "MONKEY", "PATTERN", "DATABASE", "BASE_URL"]
)
def test_other_variables_are_not_secrets(name: str) -> None:
    assert secrets_of({name: "0123456789"}) == []


def test_only_texts_are_redacted() -> None:
    """A secret that equals a fixed value, a key or a number breaks nothing."""
    result = result_of({"arc": answers(40, 10, 200)})
    secrets = ["advisory", "exact McNemar", "baseline", "fingerprint", "0.05", "quantgate", "regressions"]
    flip = result.flips[0].model_copy(update={"candidate": "it is fingerprint"})
    leaky = result.model_copy(
        update={"flips": [flip], "reasons": ["advisory"], "baseline": {"fingerprint": ["fingerprint", 1]}}
    )
    clean = redact(leaky, secrets)
    assert clean.flips[0].candidate == "it is ***"
    assert clean.reasons == ["***"]
    assert clean.baseline == {"fingerprint": ["***", 1]}
    assert [task.test for task in clean.tasks] == [task.test for task in result.tasks]
    assert clean.p_value == result.p_value
    assert Result.model_validate_json(to_json(clean)) == clean


def test_each_line_of_a_key_is_a_secret() -> None:
    assert secrets_of({"DEPLOY_KEY": "abcdefgh\nijklmnopq\nshort"}) == [
        "abcdefgh\nijklmnopq\nshort",
        "ijklmnopq",
        "abcdefgh",
    ]


def test_task_named_like_a_secret_is_attested_with_the_digest_of_the_written_file() -> None:
    result = result_of({"hellaswag": answers(4, 1, 60)})
    about = {"weights": "1" * 64, "sets": {"hellaswag": {"task_fingerprint": "2" * 64}}}
    result = result.model_copy(update={name: {**getattr(result, name), **about} for name in ("baseline", "candidate")})
    text = render("attestation", result, secrets=["hellaswag"])
    assert "hellaswag" not in text
    written = render("json", result, secrets=["hellaswag"])
    assert hashlib.sha256(written.encode()).hexdigest() in text
    assert "2" * 64 in text


def test_secret_with_quotes_and_line_breaks_is_redacted() -> None:
    secret = 'two\nlines "quoted" \\ back'
    leaky = result_of({"arc": answers(4, 4, 200)}).model_copy(update={"notes": [f"a {secret} b"]})
    assert redact(leaky, [secret]).notes == ["a *** b"]


def test_no_output_format_shows_a_secret() -> None:
    secret = "ghs0123456789abcdef"
    result, pairing = compare_samples(
        choice_samples("winds", 60, 9, 2, 1, 0, lambda text: f"{text} {secret}"),
        labels=("base", f"https://user:{secret}@example.com/model"),
    )
    about = {"weights": "1" * 64, "sets": {"winds": {"task_fingerprint": "2" * 64}}}
    result = result.model_copy(update={name: {**getattr(result, name), **about} for name in ("baseline", "candidate")})
    for form in ("markdown", "json", "html", "junit", "attestation"):
        assert secret in render(form, result, pairing), form
        assert secret not in render(form, result, pairing, [secret]), form
    assert "of day 6 blow from? ***" in render("html", result, pairing, [secret])
