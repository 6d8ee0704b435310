"""Rolling log-likelihoods: each token of a text is scored once, in the windows of LM Evaluation Harness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.opened import open_model, silent

from gate.engines.tokens.rows import rolling_rows
from gate.errors import EvaluationError
from gate.tasks.requests import RollingRequest

TEXTS = [
    "the cat sees a dog",
    "",
    "Q : What colour ?\n",
    "red fish " * 300,
    "a",
    "Größe 日本 🐈",
    "dog " * 256,
]


class OneLetter:
    """A tokenizer with one token per character."""

    bos_token = None
    bos_token_id: int | None = None
    eos_token_id: int | None = 7

    def __call__(self, text: list[str], *, add_special_tokens: bool) -> dict[str, list[list[int]]]:
        assert not add_special_tokens
        return {"input_ids": [[ord(letter) for letter in each] for each in text]}


@given(st.text("abc", max_size=40), st.integers(1, 9))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_windows_are_those_of_lm_evaluation_harness(text: str, length: int) -> None:
    utils = pytest.importorskip("lm_eval.utils", reason="lm_eval is not installed")
    tokens = [ord(letter) for letter in text]
    theirs = [
        (tuple((context + scored)[:-1]), tuple(scored))
        for context, scored in map(
            utils.make_disjoint_window, utils.get_rolling_token_windows(tokens, 7, length, context_len=1)
        )
    ]
    rows = rolling_rows(OneLetter(), [RollingRequest(text)], length)
    assert [(row.tokens, row.targets[0].ids) for row in rows] == theirs


def test_a_tokenizer_without_bos_and_eos_is_an_error() -> None:
    tokenizer = OneLetter()
    tokenizer.eos_token_id = None
    with pytest.raises(EvaluationError, match="neither BOS nor EOS"):
        rolling_rows(tokenizer, [RollingRequest("a")], 8)


def test_rolling_scores_are_those_of_lm_evaluation_harness(tiny_model: Path) -> None:
    huggingface = pytest.importorskip("lm_eval.models.huggingface", reason="lm_eval is not installed")
    from lm_eval.api.instance import Instance
    from transformers import AutoModelForCausalLM, AutoTokenizer

    harness = huggingface.HFLM(
        pretrained=AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32),
        tokenizer=AutoTokenizer.from_pretrained(tiny_model),
        backend="causal",
        batch_size=4,
    )
    texts = [text for text in TEXTS if text]
    requests = [Instance("loglikelihood_rolling", {}, (text,), n) for n, text in enumerate(texts)]
    theirs = harness.loglikelihood_rolling(requests, disable_tqdm=True)
    answers = open_model(tiny_model).loglikelihood_rolling([RollingRequest(text) for text in texts], silent)
    assert [answer.loglikelihood for answer in answers] == pytest.approx(theirs, abs=5e-3, rel=1e-5)


@pytest.fixture(scope="module")
def by_definition(tiny_model: Path) -> Any:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()

    def score(text: str) -> float:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        with torch.no_grad():
            logprobs = model(torch.tensor([[tokenizer.bos_token_id, *ids]])).logits[0].double().log_softmax(-1)
        return float(sum(logprobs[index, token] for index, token in enumerate(ids)))

    return score


@pytest.mark.parametrize("tokens", [1, 60, 10_000])
def test_scores_follow_the_definition_from_the_first_token_on(
    tiny_model: Path, by_definition: Any, tokens: int
) -> None:
    texts = ["the cat sees a dog", "a", "Q : What colour ?\n"]
    progress: list[int] = []
    engine = open_model(tiny_model, {"max_batch_tokens": tokens})
    answers = engine.loglikelihood_rolling([RollingRequest(text) for text in texts], progress.append)
    assert [answer.loglikelihood for answer in answers] == pytest.approx(list(map(by_definition, texts)), abs=1e-4)
    assert sum(progress) == 3


def test_an_empty_text_has_no_tokens_and_counts_as_progress(tiny_model: Path) -> None:
    progress: list[int] = []
    answers = open_model(tiny_model).loglikelihood_rolling([RollingRequest(text) for text in TEXTS], progress.append)
    assert (answers[1].loglikelihood, answers[1].tokens) == (0.0, 0)
    assert sum(progress) == len(TEXTS)
    assert answers[3].tokens > 256


def test_no_requests_give_no_answers(tiny_model: Path) -> None:
    assert open_model(tiny_model).loglikelihood_rolling([], silent) == []
