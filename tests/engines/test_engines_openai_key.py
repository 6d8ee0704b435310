"""The key of a server: how it is read, and which server gets it."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from gate.config import EngineSettings
from gate.config.engine import EngineOverride
from gate.engines.openai.client import Client
from gate.engines.openai.partial import divergence
from gate.errors import ConfigError
from gate.tasks.requests import Distribution

SERVER = EngineSettings(kind="openai", base_url="http://one.example/v1", api_key_env="GATE_TEST_KEY")


def sent(client: Client) -> str | None:
    return client._http.headers.get("Authorization")


def test_a_trailing_line_break_is_not_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_TEST_KEY", "sk-secret\n")
    assert sent(Client(SERVER)) == "Bearer sk-secret"


@pytest.mark.parametrize("key", ["sk-sec\nret", "sk-secret\u201d", "sk\x00"])
def test_a_key_that_no_header_can_carry_is_an_error_that_names_only_the_variable(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {"GATE_TEST_KEY": key})
    with pytest.raises(ConfigError, match="GATE_TEST_KEY") as caught:
        Client(SERVER)
    assert "sk" not in str(caught.value)


def test_another_server_does_not_inherit_the_key() -> None:
    other = EngineOverride(base_url="http://two.example/v1").over(SERVER)
    assert other.api_key_env is None
    explicit = EngineOverride(base_url="http://two.example/v1", api_key_env="OTHER").over(SERVER)
    assert explicit.api_key_env == "OTHER"
    assert EngineOverride(concurrency=2).over(SERVER).api_key_env == "GATE_TEST_KEY"


def test_a_probability_rounded_to_zero_does_not_hide_the_rest_of_the_divergence() -> None:
    reference = Distribution((1, 2), (-0.1, -math.inf), 1 - math.exp(-0.1))
    top = [SimpleNamespace(id=1, logprob=-3.0), SimpleNamespace(id=2, logprob=-4.0)]
    result = divergence(reference, top)  # type: ignore[arg-type]
    assert result is not None
    assert result.kl > 1.0
