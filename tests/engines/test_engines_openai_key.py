"""The key of a server: sent as it is meant, to the server that it is for, and shown to nobody."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from gate.config import EngineSettings
from gate.config.model import EngineOverride
from gate.engines import Distribution
from gate.engines.openai.client import Client
from gate.engines.openai.partial import divergence
from gate.errors import ConfigError

SERVER = EngineSettings(kind="openai", base_url="http://one.example/v1", api_key_env="GATE_TEST_KEY")


def sent(client: Client) -> str | None:
    return client._http.headers.get("Authorization")


def test_the_line_end_that_a_secret_brings_is_not_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_TEST_KEY", "sk-secret\n")
    assert sent(Client(SERVER)) == "Bearer sk-secret"


@pytest.mark.parametrize("key", ["sk-sec\nret", "sk-secret\u201d", "sk\x00"])
def test_a_key_that_no_header_can_carry_is_an_error_that_names_the_variable_only(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {"GATE_TEST_KEY": key})
    with pytest.raises(ConfigError, match="GATE_TEST_KEY") as caught:
        Client(SERVER)
    assert "sk" not in str(caught.value)


def test_another_server_is_not_shown_the_key_of_the_first() -> None:
    other = EngineOverride(base_url="http://two.example/v1").over(SERVER)
    assert other.api_key_env is None
    named = EngineOverride(base_url="http://two.example/v1", api_key_env="OTHER").over(SERVER)
    assert named.api_key_env == "OTHER"
    assert EngineOverride(concurrency=2).over(SERVER).api_key_env == "GATE_TEST_KEY"


def test_a_probability_that_float16_rounded_to_none_does_not_hide_the_rest() -> None:
    reference = Distribution((1, 2), (-0.1, -math.inf), 1 - math.exp(-0.1))
    top = [SimpleNamespace(id=1, logprob=-3.0), SimpleNamespace(id=2, logprob=-4.0)]
    found = divergence(reference, top)  # type: ignore[arg-type]
    assert found is not None
    assert found.kl > 1.0
