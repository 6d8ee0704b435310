"""Servers that are busy, slow, gone or strange: what is asked again, what is an error, and what is never told."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import stamina
from support.asking import ask_server, silent
from support.dialect import NAME, Dialect, Fault, serve

from gate.engines import GenerateRequest
from gate.engines.openai.client import retry_after
from gate.errors import ConfigError, EvaluationError, ExitCode

KEY = "sk-do-not-tell-1234567890"
ASKED = [GenerateRequest(f"the cat {number}", (), 2) for number in range(6)]


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> Dialect:
    return Dialect(tiny_model)


@pytest.fixture
def dialect(loaded: Dialect) -> Iterator[Dialect]:
    loaded.faults, loaded.asked, loaded.most_at_once, loaded.key = [], [], 0, None
    yield loaded
    loaded.key = None


@pytest.fixture
def url(dialect: Dialect) -> Iterator[str]:
    with serve(dialect) as address:
        yield address


@pytest.fixture
def hasty() -> Iterator[None]:
    """Without waiting between attempts, of which there are three."""
    stamina.set_testing(True, attempts=3)
    yield
    stamina.set_testing(False)


def completions(dialect: Dialect) -> int:
    return sum(route == "/v1/completions" for route, *_ in dialect.asked)


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(429), Fault(503)],
        [Fault(drop=True), Fault(500)],
        [Fault(502, text="<html>Bad gateway</html>"), Fault(504, text="")],
    ],
    ids=["busy", "dropped", "gateway"],
)
def test_what_passes_is_asked_again_and_every_answer_comes_once(
    url: str, dialect: Dialect, hasty: None, faults: list[Fault], caplog: pytest.LogCaptureFixture
) -> None:
    served = ask_server(url, NAME)
    expected = served.generate_until(ASKED, silent)
    before, dialect.faults = completions(dialect), list(faults)
    done: list[int] = []
    with caplog.at_level(logging.WARNING):
        assert served.generate_until(ASKED, done.append) == expected
    assert completions(dialect) - before == len(ASKED) + len(faults)
    assert sum(done) == len(ASKED)
    assert len([record for record in caplog.records if "asking again" in record.message]) == 1


def test_the_server_says_when_to_come_again(url: str, dialect: Dialect) -> None:
    served = ask_server(url, NAME)
    dialect.faults = [Fault(429, {"Retry-After": "1"})]
    started = time.monotonic()
    assert len(served.generate_until(ASKED[:1], silent)) == 1
    assert time.monotonic() - started >= 1.0


def test_a_time_to_come_again_is_in_seconds_or_a_date() -> None:
    assert retry_after("7") == 7
    assert retry_after(" 0 ") == 0
    assert retry_after("1.5") == 1.5
    assert retry_after(None) is None
    assert retry_after("soon") is None
    assert retry_after("-3") is None
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert retry_after(later) == pytest.approx(60, abs=2)
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_a_server_that_asks_for_an_hour_is_an_error_at_once(url: str, dialect: Dialect) -> None:
    served = ask_server(url, NAME)
    dialect.faults = [Fault(429, {"Retry-After": "3600"}, '{"error": {"message": "quota exhausted"}}')]
    with pytest.raises(EvaluationError, match=r"status 429 and asks to wait 3600 s .*quota exhausted"):
        served.generate_until(ASKED[:1], silent)


def test_a_server_that_stays_busy_is_an_error_with_its_words(url: str, dialect: Dialect, hasty: None) -> None:
    served = ask_server(url, NAME)
    dialect.faults = [Fault(503, text='{"error": {"message": "Loading model"}}') for _ in range(50)]
    with pytest.raises(EvaluationError, match=r"status 503 \(asked 3 times\): Loading model") as caught:
        served.generate_until(ASKED, silent)
    assert caught.value.exit_code == ExitCode.EVALUATION


def test_a_server_that_hangs_is_asked_again_and_not_for_ever(url: str, dialect: Dialect, hasty: None) -> None:
    served = ask_server(url, NAME, engine={"timeout": 1.5})
    release = threading.Event()
    dialect.faults = [Fault(hang=release)]
    assert len(served.generate_until(ASKED[:1], silent)) == 1
    dialect.faults = [Fault(hang=release) for _ in range(9)]
    with pytest.raises(
        EvaluationError, match=r"took more than 1\.5 s over /v1/completions \(asked 3 times\)"
    ):
        served.generate_until(ASKED[:1], silent)
    release.set()


def test_nobody_listening_is_an_error_that_names_the_address(hasty: None) -> None:
    with pytest.raises(EvaluationError, match=r"http://127\.0\.0\.1:9/v1 cannot be reached") as caught:
        ask_server("http://127.0.0.1:9/v1", NAME)
    assert caught.value.hint == "Check base_url, and that the server runs."


def test_a_refusal_is_not_repeated(url: str, dialect: Dialect) -> None:
    served = ask_server(url, NAME)
    before = completions(dialect)
    dialect.faults = [Fault(400, text='{"error": {"message": "the prompt is too long"}}')]
    with pytest.raises(
        EvaluationError, match="refuses /v1/completions with status 400: the prompt is too long"
    ):
        served.generate_until(ASKED[:1], silent)
    assert completions(dialect) == before + 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<html>hello</html>", "something that is not JSON"),
        ("[]", "in an unexpected form: the whole"),
        ('{"choices": [{"text": 3}]}', "in an unexpected form: choices.0.text"),
        ('{"choices": []}', "without a choice"),
        (
            '{"choices": [{"text": "a", "finish_reason": "content_filter"}]}',
            "for the reason 'content_filter'",
        ),
    ],
)
def test_an_answer_in_another_form_is_an_error(url: str, dialect: Dialect, text: str, told: str) -> None:
    served = ask_server(url, NAME)
    dialect.faults = [Fault(200, text=text)]
    with pytest.raises(EvaluationError, match=told):
        served.generate_until(ASKED[:1], silent)


def test_no_more_is_under_way_than_allowed(url: str, dialect: Dialect) -> None:
    many = [GenerateRequest(f"the dog {number}", (), 2) for number in range(24)]
    served = ask_server(url, NAME, engine={"concurrency": 3})
    answers = served.generate_until(many, silent)
    assert dialect.most_at_once <= 3
    assert [answer.text for answer in answers] == [
        ask_server(url, NAME).generate_until([request], silent)[0].text for request in many
    ]


# the key


def test_the_key_is_sent_and_never_told(
    url: str, dialect: Dialect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dialect.key = KEY
    monkeypatch.setenv("TINY_KEY", KEY)
    with caplog.at_level(logging.DEBUG):
        served = ask_server(url, NAME, engine={"api_key_env": "TINY_KEY"})
        assert len(served.generate_until(ASKED, silent)) == len(ASKED)
        monkeypatch.setenv("TINY_KEY", wrong := KEY + "x")
        with pytest.raises(EvaluationError, match="status 401: Incorrect API key provided: Bearer") as caught:
            served.generate_until(ASKED, silent)
        monkeypatch.delenv("TINY_KEY")
        with pytest.raises(EvaluationError) as unset:
            served.generate_until(ASKED, silent)
    assert caught.value.hint == "The key is read from the variable TINY_KEY, which was sent."
    assert unset.value.hint == "The key is read from the variable TINY_KEY, which is not set."
    for told in (str(caught.value), repr(caught.value), str(unset.value), repr(served), repr(served.runtime)):
        assert KEY not in told
        assert wrong not in told
    assert KEY not in caplog.text


def test_the_key_does_not_follow_a_redirect(
    url: str, dialect: Dialect, monkeypatch: pytest.MonkeyPatch, tiny_model: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    elsewhere = Dialect(tiny_model)
    with serve(elsewhere) as other:
        served = ask_server(url, NAME)
        for status in (301, 302, 307, 308):
            dialect.faults = [Fault(status, {"Location": f"{other}/completions"})]
            with pytest.raises(EvaluationError, match="redirects are not followed"):
                served.generate_until(ASKED[:1], silent)
    assert elsewhere.asked == []


def test_a_password_in_the_address_is_not_told(hasty: None) -> None:
    with pytest.raises(EvaluationError) as caught:
        ask_server("http://user:hunter2@127.0.0.1:9/v1?token=hunter3", NAME)
    assert "hunter" not in str(caught.value)


def test_an_address_that_is_none_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"engine\.base_url is not an address"):
        ask_server("http://localhost:port/v1", NAME)


def test_an_address_without_a_path_means_v1(url: str) -> None:
    assert ask_server(url.removesuffix("/v1"), NAME).runtime.versions["vllm"] == "0.0.tiny"
