"""Log-likelihoods equal those of a choice scored alone and those of LM Evaluation Harness, for any batch size."""

from __future__ import annotations

import json
import logging
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.opened import loglikelihoods, open_model, silent
from support.tiny import WORDS

from gate.engines import Engine
from gate.engines.hf.model.distribution import likeliest
from gate.engines.tokens.rows import scoring_rows
from gate.engines.tokens.tokenizer import encode
from gate.errors import EvaluationError
from gate.tasks.requests import LoglikelihoodRequest

Request = tuple[str, tuple[str, ...]]


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Engine:
    return open_model(tiny_model)


@pytest.fixture(scope="module")
def reference(tiny_model: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


def alone(reference: Any, tokenizer: Any, context: str, continuation: str) -> float:
    """Score one continuation in a pass of its own, by definition: the sum of its tokens' log-softmax."""
    stripped = context.rstrip()
    whole = tokenizer(context + continuation, add_special_tokens=False).input_ids
    start = min(len(tokenizer(stripped, add_special_tokens=False).input_ids), len(whole) - 1)
    if start < 1:
        if whole[0] != tokenizer.bos_token_id:
            whole = [tokenizer.bos_token_id, *whole]
        start = 1
    with torch.no_grad():
        logprobs = reference(torch.tensor([whole])).logits[0].double().log_softmax(-1)
    return float(sum(logprobs[place - 1, whole[place]] for place in range(start, len(whole))))


PIECE = st.sampled_from([*WORDS, " cat", "ca", "t", "é", "日本", "🐈", " ", "\t", "1"]) | st.text(
    st.characters(codec="utf-8"), max_size=3
)
CONTEXT = st.lists(PIECE, max_size=6).map(" ".join) | st.sampled_from(["", " ", "c", "the cat  ", "Q :\n"])
CHOICE = st.sampled_from([" a", " cat", " cat sees", " cat sees a dog", "at", " é", "🐈"]) | st.lists(
    PIECE, min_size=1, max_size=3
).map(lambda pieces: " " + " ".join(pieces))


@given(st.lists(st.tuples(CONTEXT, st.lists(CHOICE, min_size=1, max_size=4).map(tuple)), min_size=1, max_size=4))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_every_choice_has_the_score_of_a_pass_of_its_own(
    engine: Engine, reference: Any, tokenizer: Any, requests: list[Request]
) -> None:
    for (context, choices), scores in zip(requests, loglikelihoods(engine, requests), strict=True):
        expected = [alone(reference, tokenizer, context, choice) for choice in choices]
        assert scores == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("context", "choice"), [("th", "e"), ("the c", "at"), ("the ca", "t")])
def test_a_choice_whose_tokens_merge_with_those_of_the_context_is_scored(
    engine: Engine, reference: Any, tokenizer: Any, context: str, choice: str
) -> None:
    assert len(tokenizer(context + choice).input_ids) <= len(tokenizer(context).input_ids)
    (scores,) = loglikelihoods(engine, [(context, (choice, " dog"))])
    expected = [alone(reference, tokenizer, context, text) for text in (choice, " dog")]
    assert scores == pytest.approx(expected, abs=1e-4)


def test_choices_that_are_prefixes_of_each_other_share_one_row(tokenizer: Any) -> None:
    request = LoglikelihoodRequest("the cat", (" sees", " sees a", " sees a dog", " dog"))
    rows = scoring_rows(tokenizer, [request], 256)
    assert [len(row.targets) for row in rows] == [4]
    apart = LoglikelihoodRequest("the cat", (" sees a dog", " is a dog"))
    assert [len(row.targets) for row in scoring_rows(tokenizer, [apart], 256)] == [1, 1]


def test_equal_requests_share_a_row_and_get_equal_answers(engine: Engine, tokenizer: Any) -> None:
    request: Request = ("the cat", (" sees", " is"))
    first, second = loglikelihoods(engine, [request, request])
    assert first == second
    duplicates = [LoglikelihoodRequest(*request)] * 2
    assert len(scoring_rows(tokenizer, duplicates, 256)) == 1


def random_requests(count: int, seed: int = 0) -> list[Request]:
    draw = random.Random(seed)
    words = [word for word in WORDS if word.strip()]

    def text(low: int, high: int) -> str:
        return " ".join(draw.choices(words, k=draw.randint(low, high)))

    return [
        (
            text(1, 12) + draw.choice(["", " ", "\n"]),
            tuple(" " + text(1, 4) for _ in range(draw.randint(2, 4))),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"max_batch_tokens": 1},
        {"max_batch_tokens": 40},
        {"max_batch_tokens": 100_000},
        {"max_batch_tokens": 100},
    ],
)
def test_the_batch_size_does_not_change_the_scores(engine: Engine, tiny_model: Path, options: dict[str, int]) -> None:
    requests = random_requests(20)
    expected = loglikelihoods(engine, requests)
    scores = loglikelihoods(open_model(tiny_model, options), requests)
    for values, reference in zip(scores, expected, strict=True):
        assert values == pytest.approx(reference, abs=1e-4)


def test_other_weights_give_other_scores(engine: Engine, other_tiny_model: Path) -> None:
    requests = random_requests(3)
    assert loglikelihoods(open_model(other_tiny_model), requests)[0] != pytest.approx(
        loglikelihoods(engine, requests)[0], abs=1e-2
    )


def test_answers_come_in_the_order_of_the_requests_with_progress_and_token_counts(engine: Engine) -> None:
    requests = [LoglikelihoodRequest(*request) for request in random_requests(12)]
    told: list[int] = []
    answers = engine.loglikelihood(requests, told.append)
    assert sum(told) == 12
    for request, answer in zip(requests, answers, strict=True):
        (single,) = engine.loglikelihood([request], silent)
        assert answer.loglikelihoods == pytest.approx(single.loglikelihoods, abs=1e-4)
        assert (answer.tokens_in, answer.tokens_out) == (single.tokens_in, single.tokens_out)
    (counted,) = engine.loglikelihood([LoglikelihoodRequest("the cat", (" sees", " sees a"))], silent)
    assert (counted.tokens_in, counted.tokens_out) == (4, 3)


def test_no_requests_give_no_answers(engine: Engine) -> None:
    assert engine.loglikelihood([], silent) == []


def test_a_prompt_longer_than_the_context_window_is_truncated_on_the_left_with_a_warning(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    tail = " the cat sees" * 120
    with caplog.at_level(logging.WARNING):
        long, longer = loglikelihoods(engine, [("dog" + tail, (" a", " is")), ("fish big" + tail, (" a", " is"))])
    assert long == pytest.approx(longer, abs=1e-5)
    assert caplog.messages == ["4 of 4 prompts are longer than the model's 256 tokens; they were cut on the left"]


def test_a_choice_longer_than_the_context_window_is_an_error(engine: Engine) -> None:
    with pytest.raises(EvaluationError, match=r"a continuation has \d+ tokens; the model reads at most 256"):
        loglikelihoods(engine, [("the", (" cat" * 300, " a"))])


def test_a_choice_without_tokens_is_an_error(engine: Engine) -> None:
    with pytest.raises(EvaluationError, match="no token that could be scored"):
        loglikelihoods(engine, [("", ("",))])


# tokenizers that add BOS


@pytest.fixture(scope="module")
def bos_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a tokenizer that adds BOS, as Llama's does."""
    folder = Path(shutil.copytree(tiny_model, tmp_path_factory.mktemp("bos") / "model"))
    data = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    special, text = {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    data["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [special, text],
        "pair": [special, text, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


def test_bos_is_added_once(bos_model: Path, tokenizer: Any) -> None:
    from transformers import AutoTokenizer

    adding = AutoTokenizer.from_pretrained(bos_model)
    cat = tokenizer("the cat", add_special_tokens=False).input_ids
    assert encode(adding, ["the cat", "<s>the cat", ""]) == [[0, *cat], [0, *cat], [0]]
    assert encode(tokenizer, ["the cat", "<s>the cat", ""]) == [cat, [0, *cat], []]
    assert encode(tokenizer, []) == []


def test_an_empty_context_is_bos_whether_or_not_the_tokenizer_adds_it(engine: Engine, bos_model: Path) -> None:
    requests: list[Request] = [("", (" cat", " dog sees")), ("  ", ("cat",))]
    with_bos = loglikelihoods(open_model(bos_model), requests)
    for values, reference in zip(loglikelihoods(engine, requests), with_bos, strict=True):
        assert values == pytest.approx(reference, abs=1e-5)


# LM Evaluation Harness


@pytest.mark.parametrize("bos", [False, True])
def test_scores_equal_those_of_lm_evaluation_harness(tiny_model: Path, bos_model: Path, bos: bool) -> None:
    huggingface = pytest.importorskip("lm_eval.models.huggingface", reason="lm_eval is not installed")
    from lm_eval.api.instance import Instance
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = bos_model if bos else tiny_model
    harness = huggingface.HFLM(
        pretrained=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        tokenizer=AutoTokenizer.from_pretrained(folder),
        backend="causal",
        batch_size=4,
    )
    requests = [
        *random_requests(25, seed=3),
        ("", (" cat", " a dog")),
        ("Größe 日本 ", ("🐈", " é cat")),
        ("Q : What colour ?\nA :", (" red", " red fish", " big red fish", " blue")),
        ("the cat sees " * 120, (" a", " a dog")),
        ("<s>the cat", (" sees", " is")),
    ]
    pairs = [(context, choice) for context, choices in requests for choice in choices]
    instances = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
    theirs = harness.loglikelihood(instances, disable_tqdm=True)
    answers = open_model(folder).loglikelihood([LoglikelihoodRequest(*request) for request in requests], silent)
    ours = [score for answer in answers for score in answer.loglikelihoods]
    assert ours == pytest.approx([score for score, _ in theirs], abs=1e-4)
    greedy = [flag for answer in answers for flag in answer.greedy]
    assert greedy == [flag for _, flag in theirs]


def test_the_likeliest_token_is_the_first_on_a_tie_and_a_nan_shows() -> None:
    values = torch.tensor([[0.1, 0.5, 0.5], [0.9, 0.0, 0.9], [0.3, 0.2, 0.1], [0.3, torch.nan, 0.1]])
    assert likeliest(values).tolist() == [1, 0, 0, 1]
    assert likeliest(values[:0]).tolist() == []
