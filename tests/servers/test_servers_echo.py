"""Served models, scored by echo on a server with vLLM's protocol: scores equal those of the transformers engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fake_vllm import NAME, FakeVllm, serve, unchanged
from support.opened import open_model, silent
from support.served import open_served, served_identity

from gate.engines import Engine
from gate.errors import EvaluationError, ModelError, TaskError
from gate.tasks import Message
from gate.tasks.requests import GenerateRequest, LoglikelihoodRequest, RollingRequest

REQUESTS = [
    LoglikelihoodRequest("Q: Which animal sees the red bird?\nA:", (" cat", " a big dog", " fish")),
    LoglikelihoodRequest("the cat is ", ("red", "blue", "")),
    LoglikelihoodRequest("", ("the dog", " runs")),
    LoglikelihoodRequest("<s>user: What is one?\nassistant:", ("two", " one")),
    LoglikelihoodRequest("the dog eats", (" the fish", " the fish runs")),
]


@pytest.fixture(scope="module")
def loaded(weights: Path) -> FakeVllm:
    return FakeVllm(weights)


@pytest.fixture
def fake(loaded: FakeVllm) -> Iterator[FakeVllm]:
    """The server; changes that a test makes are undone."""
    with unchanged(loaded):
        yield loaded


@pytest.fixture
def url(fake: FakeVllm) -> Iterator[str]:
    with serve(fake) as address:
        yield address


def test_choices_score_as_in_the_transformers_engine(url: str, weights: Path, plain: Engine) -> None:
    served = open_served(url, NAME, weights)
    ours = plain.loglikelihood(REQUESTS, silent)
    theirs = served.loglikelihood(REQUESTS, silent)
    for expected, actual in zip(ours, theirs, strict=True):
        assert actual.loglikelihoods == pytest.approx(expected.loglikelihoods, abs=1e-4)
        assert (actual.tokens_in, actual.tokens_out) == (expected.tokens_in, expected.tokens_out)
        assert actual.greedy == expected.greedy
    assert served.runtime.tokenizer == plain.runtime.tokenizer
    assert served.runtime.versions["scoring"] == "echo of token ids"


def test_the_servers_own_tokenizer_gives_the_same_scores(url: str, plain: Engine) -> None:
    # the server does not report the token that precedes an empty context
    requests = [request for request in REQUESTS if request.context]
    ours = plain.loglikelihood(requests, silent)
    served = open_served(url, NAME)
    for expected, actual in zip(ours, served.loglikelihood(requests, silent), strict=True):
        assert actual.loglikelihoods == pytest.approx(expected.loglikelihoods, abs=1e-4)
    assert served.runtime.tokenizer == ""


def test_without_a_tokenizer_prompts_are_sent_as_text(url: str, fake: FakeVllm, plain: Engine) -> None:
    fake.routes = ()
    served = open_served(url, NAME)
    requests = [request for request in REQUESTS if request.context]
    ours = plain.loglikelihood(requests, silent)
    for expected, actual in zip(ours, served.loglikelihood(requests, silent), strict=True):
        assert actual.loglikelihoods == pytest.approx(expected.loglikelihoods, abs=1e-4)
        assert (actual.tokens_in, actual.tokens_out) == (expected.tokens_in, expected.tokens_out)
    assert served.runtime.versions["scoring"] == "echo of texts"
    with pytest.raises(EvaluationError, match="an empty context needs the token that texts start with"):
        served.loglikelihood([LoglikelihoodRequest("", ("the dog",))], silent)


def test_with_a_tokenizer_and_a_server_that_accepts_text_only(
    url: str, fake: FakeVllm, plain: Engine, weights: Path
) -> None:
    fake.accepts_ids = False
    served = open_served(url, NAME, weights)
    requests = [REQUESTS[0], REQUESTS[4]]
    ours = plain.loglikelihood(requests, silent)
    for expected, actual in zip(ours, served.loglikelihood(requests, silent), strict=True):
        assert actual.loglikelihoods == pytest.approx(expected.loglikelihoods, abs=1e-4)
    assert served.runtime.versions["scoring"] == "echo of texts"


def test_an_echo_shifted_by_one_token_is_refused(url: str, fake: FakeVllm, weights: Path) -> None:
    fake.shift = True
    for tokenizer in (weights, None):
        served = open_served(url, NAME, tokenizer)
        with pytest.raises(EvaluationError, match="they are shifted by one token") as caught:
            served.loglikelihood(REQUESTS[:1], silent)
        assert "llama.cpp's own server, vLLM or SGLang" in str(caught.value.hint)
        # generation does not depend on the echo
        assert served.generate_until([GenerateRequest("the cat", (), 3)], silent)[0].tokens_out == 3


def test_whole_texts_score_as_in_the_transformers_engine(url: str, weights: Path, plain: Engine) -> None:
    requests = [RollingRequest(text) for text in ("the cat sees a dog", "", "<s>one two", "the red dog eats " * 12)]
    ours = plain.loglikelihood_rolling(requests, silent)
    theirs = open_served(url, NAME, weights).loglikelihood_rolling(requests, silent)
    for expected, actual in zip(ours, theirs, strict=True):
        assert actual.loglikelihood == pytest.approx(expected.loglikelihood, abs=1e-3)
        assert actual.tokens == expected.tokens


def test_a_text_longer_than_the_servers_context_is_scored_in_windows(url: str, weights: Path) -> None:
    text = "the red dog eats a fish and " * 60
    (answer,) = open_served(url, NAME, weights).loglikelihood_rolling([RollingRequest(text)], silent)
    import transformers

    assert answer.tokens == len(transformers.AutoTokenizer.from_pretrained(weights)(text)["input_ids"])
    assert answer.tokens > 256


def test_a_continuation_needs_room_for_one_token_before_it_and_one_after_it(
    url: str, fake: FakeVllm, weights: Path
) -> None:
    longest = LoglikelihoodRequest("the", (" cat" * 254,))  # of a context of 256 tokens
    assert len(fake.tokenizer(longest.continuations[0], add_special_tokens=False)["input_ids"]) == 254
    served = open_served(url, NAME, weights)
    assert served.loglikelihood([longest], silent)[0].tokens_out == 254
    with pytest.raises(EvaluationError, match="255 tokens; the model reads at most 254"):
        served.loglikelihood([LoglikelihoodRequest("the", (" cat" * 255,))], silent)


def test_divergence_from_a_list_of_twenty_tokens_is_a_lower_bound(
    url: str, fake: FakeVllm, weights: Path, plain: Engine, other_tiny_model: Path
) -> None:
    stored = open_model(other_tiny_model).loglikelihood(
        [dataclasses.replace(request, top=192) for request in REQUESTS], silent
    )
    requests = [dataclasses.replace(q, reference=a.distribution) for q, a in zip(REQUESTS, stored, strict=True)]
    exact = [answer.divergence for answer in plain.loglikelihood(requests, silent)]
    short = [answer.divergence for answer in open_served(url, NAME, weights).loglikelihood(requests, silent)]
    fake.max_list = 384
    whole = [answer.divergence for answer in open_served(url, NAME, weights).loglikelihood(requests, silent)]
    for expected, lower, full in zip(exact, short, whole, strict=True):
        assert expected is not None
        assert lower is not None
        assert full is not None
        assert lower.same_top == full.same_top == expected.same_top
        assert 0 <= lower.kl <= expected.kl + 1e-4
        assert full.kl == pytest.approx(expected.kl, abs=1e-3)


def test_a_served_baseline_stores_the_servers_list(url: str, weights: Path, plain: Engine) -> None:
    requests = [dataclasses.replace(REQUESTS[0], top=128)]
    (theirs,) = open_served(url, NAME, weights).loglikelihood(requests, silent)
    (ours,) = plain.loglikelihood([dataclasses.replace(REQUESTS[0], top=20)], silent)
    assert theirs.distribution is not None
    assert ours.distribution is not None
    assert theirs.distribution.tokens == ours.distribution.tokens
    assert theirs.distribution.logprobs == pytest.approx(ours.distribution.logprobs, abs=1e-3)
    assert theirs.distribution.tail == pytest.approx(ours.distribution.tail, abs=1e-3)


def test_a_short_list_does_not_shorten_later_ones(url: str, weights: Path) -> None:
    requests = [dataclasses.replace(REQUESTS[0], top=top) for top in (2, 128, 9)]
    answers = open_served(url, NAME, weights, {"concurrency": 1}).loglikelihood(requests, silent)
    assert [len(a.distribution.tokens) for a in answers if a.distribution is not None] == [2, 20, 9]


def test_divergence_is_left_out_if_the_server_reports_no_token_ids(
    url: str, fake: FakeVllm, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake.reports_ids = False
    requests = [dataclasses.replace(request, top=10) for request in REQUESTS]
    answers = open_served(url, NAME, weights).loglikelihood(requests, silent)
    assert all(answer.distribution is None for answer in answers)
    assert [r.message for r in caplog.records if "KL" in r.message] == [
        "tiny: KL divergence is left out: the server names likely tokens by text only"
    ]


TEXTS = [GenerateRequest(f"the {word}", (), 2, top=10) for word in ("cat", "dog", "bird", "fish")]


def test_the_distribution_of_a_texts_first_token_is_that_of_the_transformers_engine(
    url: str, fake: FakeVllm, weights: Path, plain: Engine, other_tiny_model: Path
) -> None:
    requests = [*TEXTS, GenerateRequest("the cat", (), 2)]
    ours, theirs = (engine.generate_until(requests, silent) for engine in (plain, open_served(url, NAME, weights)))
    for expected, actual in zip(ours, theirs, strict=True):
        assert actual.text == expected.text
        assert (actual.distribution is None) == (expected.distribution is None)
        if expected.distribution is not None and actual.distribution is not None:
            assert actual.distribution.tokens == expected.distribution.tokens
            assert actual.distribution.logprobs == pytest.approx(expected.distribution.logprobs, abs=1e-3)
    wide = [dataclasses.replace(text, top=192) for text in TEXTS]
    stored = open_model(other_tiny_model).generate_until(wide, silent)
    moved = [dataclasses.replace(q, top=0, reference=a.distribution) for q, a in zip(TEXTS, stored, strict=True)]
    fake.max_list = 384
    exact, served = (
        [answer.divergence for answer in engine.generate_until(moved, silent)]
        for engine in (plain, open_served(url, NAME, weights))
    )
    assert [divergence and divergence.kl for divergence in served] == pytest.approx(
        [divergence and divergence.kl for divergence in exact], rel=1e-2, abs=1e-3
    )
    assert max(divergence.kl for divergence in exact if divergence is not None) > 0.1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"lists": False}, "the server lists no likely tokens"),
        ({"reports_ids": False}, "the server names likely tokens by text only"),
        pytest.param({"max_list": 0}, "the server lists no likely tokens", marks=pytest.mark.exhaustive),
        ({"max_list": 0, "list_status": 500}, "the server lists no likely tokens"),
    ],
)
def test_a_missing_distribution_does_not_fail_generation(
    url: str,
    fake: FakeVllm,
    weights: Path,
    plain: Engine,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
    why: str,
) -> None:
    for name, value in changes.items():
        setattr(fake, name, value)
    served = open_served(url, NAME, weights, {"concurrency": 1})
    requests = TEXTS[:1] if "list_status" in changes else TEXTS * 4  # status 500 is retried, which takes time
    expected = [answer.text for answer in plain.generate_until(requests, silent)]
    for _ in range(1 if "list_status" in changes else 2):
        answers = served.generate_until(requests, silent)
        assert [answer.text for answer in answers] == expected
        assert all(answer.distribution is None for answer in answers)
    assert [r.message for r in caplog.records if "KL" in r.message] == [f"tiny: KL divergence is left out: {why}"]
    listed = [body for _, body, _ in fake.requests if body.get("logprobs") is not None]
    assert 0 < len(listed) <= 8 * 3  # requests for lists stop; each tries three lengths


def test_without_echo_single_token_choices_are_looked_up_in_the_list(
    url: str, fake: FakeVllm, plain: Engine, weights: Path
) -> None:
    fake.echo, fake.max_list = False, 384
    served = open_served(url, NAME, weights)
    requests = [LoglikelihoodRequest("the big dog sees a", (" cat", " bird", " fish"))]
    (ours,), (theirs,) = plain.loglikelihood(requests, silent), served.loglikelihood(requests, silent)
    assert theirs.loglikelihoods == pytest.approx(ours.loglikelihoods, abs=1e-4)
    assert served.runtime.versions["scoring"] == "list of likely next tokens"
    with pytest.raises(EvaluationError, match="the choice ' big cat' after") as caught:
        served.loglikelihood([LoglikelihoodRequest("the", (" cat", " big cat"))], silent)
    assert "letter of the answer" in str(caught.value.hint)
    with pytest.raises(EvaluationError, match="whole texts cannot be scored"):
        served.loglikelihood_rolling([RollingRequest("the cat")], silent)


def test_without_log_probabilities_choices_are_refused(url: str, fake: FakeVllm, weights: Path) -> None:
    fake.lists = False
    with pytest.raises(EvaluationError, match=r"neither log-probabilities of prompts .* nor lists"):
        open_served(url, NAME, weights).loglikelihood(REQUESTS, silent)


@pytest.mark.parametrize("form", ["ids", "texts", "no tokenizer"])
def test_generated_texts_are_those_of_the_transformers_engine(
    url: str, fake: FakeVllm, weights: Path, plain: Engine, form: str
) -> None:
    fake.accepts_ids = form == "ids"
    requests = [
        GenerateRequest(context, stop, 12)
        for context in ("the cat", "Q: What is one?\nA:", "the red bird sees")
        for stop in ((), (" dog", " the", "e"))
    ]
    served = open_served(url, NAME, None if form == "no tokenizer" else weights)
    for stop in ((), (" dog", " the", "e")):
        chosen = [request for request in requests if request.stop == stop]
        ours, theirs = plain.generate_until(chosen, silent), served.generate_until(chosen, silent)
        assert [answer.text for answer in theirs] == [answer.text for answer in ours]
        assert [answer.tokens_in for answer in theirs] == [answer.tokens_in for answer in ours]


def test_sampling_settings_are_sent_and_override_the_servers_defaults(url: str, fake: FakeVllm) -> None:
    open_served(url, NAME).generate_until([GenerateRequest("the", ("\n",), 4, temperature=0.3, seed=7)], silent)
    sent = fake.requests[-1][1]
    assert {name: sent[name] for name in ("temperature", "seed", "top_p", "top_k", "min_p", "stop")} == {
        "temperature": 0.3,
        "seed": 7,
        "top_p": 1,
        "top_k": -1,
        "min_p": 0,
        "stop": ["\n"],
    }


def test_chats_are_rendered_by_the_tokenizer_on_this_machine_only(url: str, weights: Path, plain: Engine) -> None:
    messages = [Message("user", "What is one?")]
    assert open_served(url, NAME, weights).render_chat(messages) == plain.render_chat(messages)
    with pytest.raises(TaskError, match="has no route that renders chats") as caught:
        open_served(url, NAME).render_chat(messages)
    assert "Set `tokenizer:`" in str(caught.value.hint)


@pytest.mark.parametrize("routes", [("/version", "/tokenize"), ()])
def test_a_tokenizer_other_than_the_served_models_is_refused(
    url: str, fake: FakeVllm, tmp_path: Path, weights: Path, routes: tuple[str, ...]
) -> None:
    import shutil

    from tokenizers import Tokenizer

    fake.routes = routes
    other = Path(shutil.copytree(weights, tmp_path / "other"))
    tokenizer = Tokenizer.from_file(str(other / "tokenizer.json"))
    tokenizer.add_tokens(["capital"])
    tokenizer.save(str(other / "tokenizer.json"))
    with pytest.raises(ModelError, match=r"tokenises 'The capital of France is Paris\.' as") as caught:
        open_served(url, NAME, other)
    assert "would not be of the weights alone" in caught.value.message


def test_a_model_that_is_not_served_is_an_error_that_lists_the_served_ones(url: str) -> None:
    with pytest.raises(ModelError, match="does not serve it; it serves: tiny"):
        open_served(url, "large")


# identity


def test_the_identity_does_not_depend_on_the_address(fake: FakeVllm) -> None:
    with serve(fake) as first, serve(fake) as second:
        assert first != second
        assert served_identity(first, NAME) == served_identity(second, NAME)


def test_other_weights_at_the_same_address_have_another_identity(
    url: str, fake: FakeVllm, other_trained_model: Path
) -> None:
    from transformers import AutoModelForCausalLM

    before = served_identity(url, NAME)
    assert before.weights.startswith("served ")
    pinned = served_identity(url, NAME, revision="v1")
    model, fake.model = fake.model, AutoModelForCausalLM.from_pretrained(other_trained_model).eval()
    try:
        assert served_identity(url, NAME).fingerprint != before.fingerprint
        # a revision set by the user identifies the weights
        assert served_identity(url, NAME, revision="v1") == pinned
    finally:
        fake.model = model
    assert served_identity(url, NAME) == before
    assert len({before.fingerprint, pinned.fingerprint, served_identity(url, NAME, revision="v2").fingerprint}) == 3


def test_no_text_is_generated_if_a_revision_is_set(url: str, fake: FakeVllm) -> None:
    served_identity(url, NAME, revision="v1")
    assert "/v1/completions" not in [route for route, *_ in fake.requests]
