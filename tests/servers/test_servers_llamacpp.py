"""llama.cpp's own server with a 4-bit GGUF of SmolLM2, which is scored by forcing tokens."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from support.commands import run_gate
from support.jsonl import write_jsonl
from support.opened import open_model, silent
from support.served import open_served, served_identity

from gate.engines import Engine
from gate.errors import EvaluationError, ModelError
from gate.tasks import Message
from gate.tasks.requests import GenerateRequest, LoglikelihoodRequest, RollingRequest

pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.slow

NAME = "smollm2-q4"
REQUESTS = [
    LoglikelihoodRequest("Q: What is the capital of France?\nA:", (" Paris", " London", " Rome")),
    LoglikelihoodRequest("The cat sat on", (" the mat", " a small dog", " the moon and sang")),
    LoglikelihoodRequest("Which animal barks?\nA. cat\nB. dog\nC. cow\nAnswer:", (" A", " B", " C")),
]
FACTS = [
    ("What colour is the sky on a clear day?", ["blue", "red", "green"], 0),
    ("Which animal barks?", ["cow", "dog", "hen"], 1),
    ("What is the capital of Italy?", ["Rome", "Oslo", "Lima"], 0),
    ("How many legs has a spider?", ["two", "four", "eight"], 2),
    ("Which is a fruit?", ["an apple", "a chair", "a stone"], 0),
    ("What do bees make?", ["milk", "honey", "silk"], 1),
    ("Which is the largest?", ["an ant", "a cat", "a whale"], 2),
    ("What is frozen water called?", ["ice", "steam", "rain"], 0),
]


@pytest.fixture(scope="module")
def plain(smollm2: Path) -> Engine:
    """The transformers engine with the unquantised model; float32 is fast on any processor."""
    return open_model(smollm2, dtype="float32")


@pytest.fixture(scope="module")
def served(url: str, smollm2: Path) -> Engine:
    return open_served(url, NAME, smollm2)


def whole_list(url: str, prompt: list[int]) -> dict[int, float]:
    """Return the server's log-probability of every token in the vocabulary after a prompt."""
    body = {"prompt": prompt, "n_predict": 1, "n_probs": 49152, "temperature": 0}
    answer = httpx.post(f"{url.removesuffix('/v1')}/completion", json=body, timeout=120).json()
    return {token["id"]: token["logprob"] for token in answer["completion_probabilities"][0]["top_logprobs"]}


def test_forced_tokens_score_as_in_the_list_of_the_whole_vocabulary(url: str, served: Engine, smollm2: Path) -> None:
    from transformers import AutoTokenizer

    context, choice = REQUESTS[1].context, REQUESTS[1].continuations[1]
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    before, ids = tokenizer(context)["input_ids"], tokenizer(context + choice)["input_ids"]
    expected = 0.0
    for index in range(len(before), len(ids)):
        listed = whole_list(url, ids[:index])
        assert sum(map(math.exp, listed.values())) == pytest.approx(1, abs=1e-3)
        expected += listed[ids[index]]
    (answer,) = served.loglikelihood([LoglikelihoodRequest(context, (choice,))], silent)
    assert len(ids) - len(before) == answer.tokens_out == 3
    assert answer.loglikelihoods[0] == pytest.approx(expected, abs=0.01)


def test_scores_are_close_to_those_of_the_unquantised_model(served: Engine, plain: Engine) -> None:
    ours, theirs = plain.loglikelihood(REQUESTS, silent), served.loglikelihood(REQUESTS, silent)
    for expected, actual in zip(ours, theirs, strict=True):
        assert actual.loglikelihoods == pytest.approx(expected.loglikelihoods, abs=1.0)
        assert (actual.tokens_in, actual.tokens_out) == (expected.tokens_in, expected.tokens_out)
    assert served.runtime.versions["scoring"] == "token by token, each forced by a bias"
    assert served.runtime.dtype == "Q4_1"
    assert served.runtime.tokenizer == plain.runtime.tokenizer


def test_the_servers_own_tokenizer_gives_the_same_scores(url: str, served: Engine) -> None:
    local = served.loglikelihood(REQUESTS, silent)
    remote = open_served(url, NAME).loglikelihood(REQUESTS, silent)
    for expected, actual in zip(local, remote, strict=True):
        assert actual.loglikelihoods == pytest.approx(expected.loglikelihoods, abs=0.01)


def test_the_divergence_from_the_unquantised_model_is_small(served: Engine, plain: Engine) -> None:
    requests = [LoglikelihoodRequest(q.context, q.continuations, top=128) for q in REQUESTS]
    stored = [answer.distribution for answer in plain.loglikelihood(requests, silent)]
    requests = [
        LoglikelihoodRequest(q.context, q.continuations, reference=reference)
        for q, reference in zip(REQUESTS, stored, strict=True)
    ]
    for answer in served.loglikelihood(requests, silent):
        assert answer.divergence is not None
        assert 0 < answer.divergence.kl < 0.05
        assert answer.divergence.same_top


def test_the_distribution_of_a_texts_first_token_is_that_of_scoring(
    url: str, served: Engine, plain: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    texts = [GenerateRequest(request.context, ("\n",), 3, top=64) for request in REQUESTS]
    choices = [LoglikelihoodRequest(request.context, request.continuations, top=64) for request in REQUESTS]
    references = [answer.distribution for answer in plain.generate_until(texts, silent)]
    generated, scored = served.generate_until(texts, silent), served.loglikelihood(choices, silent)
    for text, choice in zip(generated, scored, strict=True):
        assert text.distribution is not None
        assert choice.distribution is not None
        assert text.distribution.tokens[:10] == choice.distribution.tokens[:10]
        assert text.distribution.logprobs == pytest.approx(choice.distribution.logprobs, abs=0.02)
    requests = [replace(text, top=0, reference=r) for text, r in zip(texts, references, strict=True)]
    for answer in served.generate_until(requests, silent):
        assert answer.divergence is not None
        assert 0 < answer.divergence.kl < 0.05
    assert open_served(url, NAME).generate_until(requests[:1], silent)[0].divergence is None
    assert "KL divergence is left out: set `tokenizer:`" in caplog.text


def test_whole_texts_score_close_to_the_unquantised_model(served: Engine, plain: Engine) -> None:
    requests = [RollingRequest("The quick brown fox jumps over the lazy dog.")]
    (ours,), (theirs,) = (
        plain.loglikelihood_rolling(requests, silent),
        served.loglikelihood_rolling(requests, silent),
    )
    assert theirs.tokens == ours.tokens
    assert theirs.loglikelihood == pytest.approx(ours.loglikelihood, rel=0.05)


def test_texts_stop_and_are_reproducible(served: Engine) -> None:
    greedy = GenerateRequest("Q: What is the capital of France?\nA:", ("\n",), 20)
    drawn = [GenerateRequest("Once upon a time", (), 8, temperature=1.0, seed=seed) for seed in (1, 1, 2)]
    text = served.generate_until([greedy], silent)[0].text
    assert "Paris" in text
    assert "\n" not in text
    first, repeated, other_seed = (answer.text for answer in served.generate_until(drawn, silent))
    assert first == repeated
    assert first != other_seed


def test_chats_are_rendered_by_the_server_if_there_is_no_tokenizer(url: str, served: Engine, plain: Engine) -> None:
    messages = [Message("user", "What is one and one?")]
    assert served.render_chat(messages) == plain.render_chat(messages)
    assert open_served(url, NAME).render_chat(messages) == plain.render_chat(messages)


def test_another_tokenizer_and_another_model_are_refused(url: str, tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="tokenises 'The capital of France"):
        open_served(url, NAME, tiny_model)
    with pytest.raises(ModelError, match=f"it serves: {NAME}"):
        open_served(url, "smollm2-q8")


def test_a_choice_longer_than_the_servers_context_is_an_error(served: Engine) -> None:
    with pytest.raises(EvaluationError, match="the model reads at most"):
        served.loglikelihood([LoglikelihoodRequest("The", (" cat" * 3000,))], silent)


def test_a_context_longer_than_the_servers_is_cut_on_the_left(served: Engine, caplog: pytest.LogCaptureFixture) -> None:
    (answer,) = served.loglikelihood([LoglikelihoodRequest("The cat sat. " * 500, (" The", " Dog"))], silent)
    assert all(map(math.isfinite, answer.loglikelihoods))
    assert "cut on the left" in caplog.text


def test_the_identity_is_stable_and_depends_on_the_revision(url: str) -> None:
    identity = served_identity(url, NAME)
    assert identity == served_identity(url, NAME)
    assert identity.engine.startswith("openai(llama.cpp ")
    assert served_identity(url, NAME, revision="2026-01").fingerprint != identity.fingerprint


def test_gate_run_with_a_served_candidate(url: str, smollm2: Path, tmp_path: Path) -> None:
    rows = [{"question": text, "options": options, "gold": gold} for text, options, gold in FACTS]
    write_jsonl(tmp_path / "facts.jsonl", rows)
    config = {
        "version": 1,
        "baseline": {"model": str(smollm2), "dtype": "float32"},
        "candidate": {"model": NAME, "engine": {"kind": "openai", "base_url": url}},
        "engine": {"device": "cpu"},
        "tasks": [
            {
                "name": "facts",
                "file": "facts.jsonl",
                "prompt": "Q: {{ question }}\nA:",
                "choices": "{{ options }}",
                "answer": "{{ gold }}",
            }
        ],
    }
    (tmp_path / "gate.yml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    assert run_gate("run", "-c", tmp_path / "gate.yml", "-q").code == 0
    result = json.loads((tmp_path / "gate-result.json").read_text(encoding="utf-8"))
    assert result["tasks"][0]["n"] == len(FACTS)
    assert result["candidate"]["label"] == NAME
    assert result["tasks"][0]["baseline"] > 0.6
    assert 0 < result["tasks"][0]["kl_mean"] < 0.05
    assert result["tasks"][0]["regressions"] + result["tasks"][0]["improvements"] <= 1
