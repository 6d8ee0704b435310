"""Servers that are busy, slow, unreachable or malformed: retries, errors, and the secrecy of the key."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import stamina
from support.fake_vllm import NAME, FakeVllm, Fault, serve
from support.opened import silent
from support.served import open_served

from gate.common.http import retry_after
from gate.errors import ConfigError, EvaluationError, ExitCode
from gate.tasks.requests import GenerateRequest

KEY = "sk-do-not-tell-1234567890"
REQUESTS = [GenerateRequest(f"the cat {number}", (), 2) for number in range(6)]


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> FakeVllm:
    return FakeVllm(tiny_model)


@pytest.fixture
def fake(loaded: FakeVllm) -> Iterator[FakeVllm]:
    loaded.faults, loaded.requests, loaded.max_in_flight, loaded.key = [], [], 0, None
    yield loaded
    loaded.key = None


@pytest.fixture
def url(fake: FakeVllm) -> Iterator[str]:
    with serve(fake) as address:
        yield address


@pytest.fixture
def three_attempts() -> Iterator[None]:
    """Limit requests to three attempts, without waiting between them."""
    stamina.set_testing(True, attempts=3)
    yield
    stamina.set_testing(False)


@pytest.fixture
def two_attempts() -> Iterator[None]:
    stamina.set_testing(True, attempts=2)
    yield
    stamina.set_testing(False)


def completions(fake: FakeVllm) -> int:
    return sum(route == "/v1/completions" for route, *_ in fake.requests)


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(429), Fault(503)],
        [Fault(drop=True), Fault(500)],
        [Fault(502, text="<html>Bad gateway</html>"), Fault(504, text="")],
    ],
    ids=["busy", "dropped", "gateway"],
)
def test_transient_faults_are_retried_and_every_request_is_answered_once(
    url: str, fake: FakeVllm, three_attempts: None, faults: list[Fault], caplog: pytest.LogCaptureFixture
) -> None:
    served = open_served(url, NAME)
    expected = served.generate_until(REQUESTS, silent)
    before, fake.faults = completions(fake), list(faults)
    progress: list[int] = []
    with caplog.at_level(logging.WARNING):
        assert served.generate_until(REQUESTS, progress.append) == expected
    assert completions(fake) - before == len(REQUESTS) + len(faults)
    assert sum(progress) == len(REQUESTS)
    assert len([record for record in caplog.records if "retrying" in record.message]) == 1


@pytest.fixture
def waits() -> Iterator[list[float]]:
    """The seconds that stamina waits before each retry."""
    seconds: list[float] = []
    stamina.instrumentation.set_on_retry_hooks([lambda details: seconds.append(details.wait_for)])
    yield seconds
    stamina.instrumentation.set_on_retry_hooks(None)


def test_retry_after_is_obeyed(url: str, fake: FakeVllm, waits: list[float]) -> None:
    served = open_served(url, NAME)
    fake.faults = [Fault(429, {"Retry-After": "0.25"})]
    assert len(served.generate_until(REQUESTS[:1], silent)) == 1
    assert waits == [0.25]


def test_retry_after_holds_seconds_or_a_date() -> None:
    assert retry_after("7") == 7
    assert retry_after(" 0 ") == 0
    assert retry_after("1.5") == 1.5
    assert retry_after(None) is None
    assert retry_after("soon") is None
    assert retry_after("-3") is None
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert retry_after(later) == pytest.approx(60, abs=2)
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_a_retry_after_of_an_hour_is_an_error_without_waiting(url: str, fake: FakeVllm) -> None:
    served = open_served(url, NAME)
    fake.faults = [Fault(429, {"Retry-After": "3600"}, '{"error": {"message": "quota exhausted"}}')]
    with pytest.raises(EvaluationError, match=r"status 429 and asks to wait 3600 s .*quota exhausted"):
        served.generate_until(REQUESTS[:1], silent)


def test_a_server_that_stays_busy_is_an_error_with_its_explanation(
    url: str, fake: FakeVllm, three_attempts: None
) -> None:
    served = open_served(url, NAME)
    fake.faults = [Fault(503, text='{"error": {"message": "Loading model"}}') for _ in range(50)]
    with pytest.raises(EvaluationError, match=r"status 503 \(attempts: 3\): Loading model") as caught:
        served.generate_until(REQUESTS, silent)
    assert caught.value.exit_code == ExitCode.EVALUATION


def test_a_timeout_is_retried_a_limited_number_of_times(url: str, fake: FakeVllm, two_attempts: None) -> None:
    served = open_served(url, NAME, engine={"timeout": 1})
    release = threading.Event()
    fake.faults = [Fault(hang=release)]
    assert len(served.generate_until(REQUESTS[:1], silent)) == 1
    fake.faults = [Fault(hang=release) for _ in range(9)]
    with pytest.raises(EvaluationError, match=r"took more than 1 s to answer /v1/completions \(attempts: 2\)"):
        served.generate_until(REQUESTS[:1], silent)
    release.set()


def test_an_unreachable_server_is_an_error_that_names_the_address(three_attempts: None) -> None:
    with pytest.raises(EvaluationError, match=r"http://127\.0\.0\.1:9/v1 is unreachable") as caught:
        open_served("http://127.0.0.1:9/v1", NAME)
    assert caught.value.hint == "Check base_url, and that the server is running."


def test_a_rejected_request_is_not_retried(url: str, fake: FakeVllm) -> None:
    served = open_served(url, NAME)
    before = completions(fake)
    fake.faults = [Fault(400, text='{"error": {"message": "the prompt is too long"}}')]
    with pytest.raises(EvaluationError, match="rejects /v1/completions with status 400: the prompt is too long"):
        served.generate_until(REQUESTS[:1], silent)
    assert completions(fake) == before + 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html>hello</html>", "but not with JSON"),
        ("[]", "in an unexpected form: the whole"),
        ('{"choices": [{"text": 3}]}', "in an unexpected form: choices.0.text"),
        ('{"choices": []}', "without a choice"),
        (
            '{"choices": [{"text": "a", "finish_reason": "content_filter"}]}',
            "for the reason 'content_filter'",
        ),
    ],
)
def test_a_malformed_reply_is_an_error(url: str, fake: FakeVllm, text: str, message: str) -> None:
    served = open_served(url, NAME)
    fake.faults = [Fault(200, text=text)]
    with pytest.raises(EvaluationError, match=message):
        served.generate_until(REQUESTS[:1], silent)


def test_concurrency_bounds_the_requests_in_flight(url: str, fake: FakeVllm) -> None:
    requests = [GenerateRequest(f"the dog {number}", (), 2) for number in range(24)]
    answers = open_served(url, NAME, engine={"concurrency": 3}).generate_until(requests, silent)
    assert fake.max_in_flight <= 3
    served = open_served(url, NAME)
    expected = [served.generate_until([request], silent)[0].text for request in requests]
    assert [answer.text for answer in answers] == expected


# the key


def test_the_key_is_sent_and_never_shown(
    url: str, fake: FakeVllm, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake.key = KEY
    monkeypatch.setenv("TINY_KEY", KEY)
    with caplog.at_level(logging.DEBUG):
        served = open_served(url, NAME, engine={"api_key_env": "TINY_KEY"})
        assert len(served.generate_until(REQUESTS, silent)) == len(REQUESTS)
        monkeypatch.setenv("TINY_KEY", wrong := KEY + "x")
        with pytest.raises(EvaluationError, match="status 401: Incorrect API key provided: Bearer") as caught:
            served.generate_until(REQUESTS, silent)
        monkeypatch.delenv("TINY_KEY")
        with pytest.raises(EvaluationError) as unset:
            served.generate_until(REQUESTS, silent)
    assert caught.value.hint == "The key is read from the variable TINY_KEY, which was sent."
    assert unset.value.hint == "The key is read from the variable TINY_KEY, which is not set."
    errors = (str(caught.value), repr(caught.value), str(unset.value))
    for text in (*errors, repr(served), repr(served.runtime)):
        assert KEY not in text
        assert wrong not in text
    assert KEY not in caplog.text


def test_a_redirect_does_not_get_the_key(
    url: str, fake: FakeVllm, monkeypatch: pytest.MonkeyPatch, tiny_model: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    other = FakeVllm(tiny_model)
    with serve(other) as other_url:
        served = open_served(url, NAME)
        for status in (301, 302, 307, 308):
            fake.faults = [Fault(status, {"Location": f"{other_url}/completions"})]
            with pytest.raises(EvaluationError, match="redirects are not followed"):
                served.generate_until(REQUESTS[:1], silent)
    assert other.requests == []


def test_a_password_in_the_address_is_not_shown(three_attempts: None) -> None:
    with pytest.raises(EvaluationError) as caught:
        open_served("http://user:hunter2@127.0.0.1:9/v1?token=hunter3", NAME)
    assert "hunter" not in str(caught.value)


def test_an_invalid_address_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"engine\.base_url is not a valid address") as caught:
        open_served("http://user:hunter2@localhost:port/v1?token=hunter3", NAME)
    assert "found 'http://localhost:port/v1'" in caught.value.message
    assert "hunter" not in str(caught.value)


def test_an_address_without_a_path_means_v1(url: str) -> None:
    assert open_served(url.removesuffix("/v1"), NAME).runtime.versions["vllm"] == "0.0.tiny"
