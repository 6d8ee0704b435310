"""Redaction: texts only, whatever the secret's value is; which variables are secrets."""

from __future__ import annotations

import hashlib

import pytest
from support.html_samples import choices_task, compared
from test_report_result import answers, result_of

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
    result = result_of({"arc": answers(40, 10, 200)})
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


def test_any_line_of_a_key_is_a_secret() -> None:
    assert secrets_of({"DEPLOY_KEY": "abcdefgh\nijklmnopq\nshort"}) == [
        "abcdefgh\nijklmnopq\nshort",
        "ijklmnopq",
        "abcdefgh",
    ]


def test_a_task_named_like_a_secret_is_still_attested_and_the_digest_is_the_files() -> None:
    result = result_of({"hellaswag": answers(4, 1, 60)})
    about = {"weights": "1" * 64, "sets": {"hellaswag": {"task_fingerprint": "2" * 64}}}
    result = result.model_copy(
        update={name: {**getattr(result, name), **about} for name in ("baseline", "candidate")}
    )
    text = render("attestation", result, secrets=["hellaswag"])
    assert "hellaswag" not in text
    written = render("json", result, secrets=["hellaswag"])
    assert hashlib.sha256(written.encode()).hexdigest() in text
    assert "2" * 64 in text


def test_a_secret_with_quotes_and_lines_is_found() -> None:
    secret = 'two\nlines "quoted" \\ back'
    told = result_of({"arc": answers(4, 4, 200)}).model_copy(update={"notes": [f"a {secret} b"]})
    assert redact(told, [secret]).notes == ["a *** b"]


def test_no_form_of_a_report_shows_a_secret() -> None:
    secret = "ghs0123456789abcdef"
    result, pairing = compared(
        choices_task("winds", 60, 9, 2, 1, 0, lambda text: f"{text} {secret}"),
        labels=("base", f"https://user:{secret}@example.com/model"),
    )
    about = {"weights": "1" * 64, "sets": {"winds": {"task_fingerprint": "2" * 64}}}
    result = result.model_copy(
        update={name: {**getattr(result, name), **about} for name in ("baseline", "candidate")}
    )
    for form in ("markdown", "json", "html", "junit", "attestation"):
        assert secret in render(form, result, pairing), form
        assert secret not in render(form, result, pairing, [secret]), form
    assert "of day 6 blow from? ***" in render("html", result, pairing, [secret])
