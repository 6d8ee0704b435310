"""`llama-cpp-python[server]` 0.3.36 echoes log-probabilities shifted by one token: choices are refused, texts are made.

On demand, since the package compiles llama.cpp for minutes. In an environment of its own:

    pip install 'llama-cpp-python[server]==0.3.36'
    python -m llama_cpp.server --model SmolLM2-135M-Instruct.Q4_1.gguf --logits_all true --port 8081

and here: GATE_TEST_LLAMA_CPP_PYTHON=http://localhost:8081/v1 pytest tests/servers/test_servers_llama_cpp_python.py
"""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest
from support.asking import ask_server, silent

from gate.engines import GenerateRequest, LoglikelihoodRequest
from gate.errors import EvaluationError

URL = os.environ.get("GATE_TEST_LLAMA_CPP_PYTHON", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not URL, reason="GATE_TEST_LLAMA_CPP_PYTHON names no server"),
]


def test_its_shifted_echo_is_refused_and_its_texts_are_taken() -> None:
    listed = httpx.get(f"{URL}/models", timeout=30).json()["data"][0]["id"]
    served = ask_server(URL, Path(listed).name, engine={"concurrency": 1})
    with pytest.raises(EvaluationError, match="they are shifted by one token") as caught:
        served.loglikelihood(
            [LoglikelihoodRequest("The capital of France is", (" Paris", " London"))], silent
        )
    assert "llama.cpp's own server, vLLM or SGLang" in str(caught.value.hint)
    asked = GenerateRequest("Q: What is the capital of France?\nA:", ("\n",), 20)
    assert "Paris" in served.generate_until([asked], silent)[0].text
