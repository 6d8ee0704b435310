"""`llama-cpp-python[server]` 0.3.36, whose echo is shifted by one token: choices are refused, generation works.

Runs on demand, because the package compiles llama.cpp for minutes. In a separate environment:

    pip install 'llama-cpp-python[server]==0.3.36'
    python -m llama_cpp.server --model SmolLM2-135M-Instruct.Q4_1.gguf --logits_all true --port 8081

Then: GATE_TEST_LLAMA_CPP_PYTHON=http://localhost:8081/v1 pytest tests/servers/test_servers_llama_cpp_python.py
"""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest
from support.opened import silent
from support.served import open_served

from gate.errors import EvaluationError
from gate.tasks.requests import GenerateRequest, LoglikelihoodRequest

URL = os.environ.get("GATE_TEST_LLAMA_CPP_PYTHON", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not URL, reason="GATE_TEST_LLAMA_CPP_PYTHON is not set"),
]


def test_the_shifted_echo_is_refused_and_texts_are_generated() -> None:
    name = httpx.get(f"{URL}/models", timeout=30).json()["data"][0]["id"]
    served = open_served(URL, Path(name).name, engine={"concurrency": 1})
    with pytest.raises(EvaluationError, match="they are shifted by one token") as caught:
        served.loglikelihood([LoglikelihoodRequest("The capital of France is", (" Paris", " London"))], silent)
    assert "llama.cpp's own server, vLLM or SGLang" in str(caught.value.hint)
    request = GenerateRequest("Q: What is the capital of France?\nA:", ("\n",), 20)
    assert "Paris" in served.generate_until([request], silent)[0].text
