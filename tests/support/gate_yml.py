"""A valid gate.yml as text, and the error that a wrong one gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.config import GateConfig, parse_config
from gate.errors import ConfigError, ExitCode

GOOD = """\
version: 1
baseline:  {model: meta-llama/Llama-3.1-8B-Instruct, revision: 0e9e39f2, dtype: bfloat16}
candidate: {model: ./out/llama-3.1-8b-awq}
tasks:
  - name: faq
    file: evals/faq.jsonl
    prompt: "{{ question }}"
    choices: "{{ options }}"
    answer: "{{ gold }}"
"""


def parse(text: str) -> GateConfig:
    return parse_config(text, Path("gate.yml")).config


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.exit_code is ExitCode.USAGE
    return caught.value.message
