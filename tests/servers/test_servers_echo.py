"""Scoring by echo on a server that speaks vLLM's dialect: the numbers are those of the engine with the same weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.asking import ask_server, served_identity, silent
from support.dialect import NAME, Dialect, serve
from support.taught import write_taught_model

from gate.config import EngineSettings, ModelSettings
from gate.engines import (
    Engine,
    GenerateRequest,
    LoglikelihoodRequest,
    RollingRequest,
    fetch,
    locate,
    open_engine,
)
from gate.errors import EvaluationError, ModelError, TaskError
from gate.tasks import Message

QUESTIONS = [
    LoglikelihoodRequest("Q: Which animal sees the red bird?\nA:", (" cat", " a big dog", " fish")),
    LoglikelihoodRequest("the cat is ", ("red", "blue", "")),
    LoglikelihoodRequest("", ("the dog", " runs")),
    LoglikelihoodRequest("<s>user: What is one?\nassistant:", ("two", " one")),
    LoglikelihoodRequest("the dog eats", (" the fish", " the fish runs")),
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_taught_model(tmp_path_factory.mktemp("taught") / "model")


@pytest.fixture(scope="module")
def plain(weights: Path) -> Engine:
    """The engine that holds the weights itself."""
    settings = EngineSettings(device="cpu")
    return open_engine(
        fetch(locate(ModelSettings(model=str(weights)), weights), settings, weights, None), settings
    )


@pytest.fixture(scope="module")
def loaded(weights: Path) -> Dialect:
    return Dialect(weights)


@pytest.fixture
def dialect(loaded: Dialect) -> Iterator[Dialect]:
    """The server's program, as it is made; a test may change it."""
    before = {one.name: getattr(loaded, one.name) for one in dataclasses.fields(loaded)}
    loaded.faults, loaded.asked, loaded.most_at_once = [], [], 0
    yield loaded
    for name, value in before.items():
        setattr(loaded, name, value)


@pytest.fixture
def url(dialect: Dialect) -> Iterator[str]:
    with serve(dialect) as address:
        yield address


def test_choices_score_as_in_the_engine_with_the_same_weights(url: str, weights: Path, plain: Engine) -> None:
    served = ask_server(url, NAME, weights)
    ours = plain.loglikelihood(QUESTIONS, silent)
    theirs = served.loglikelihood(QUESTIONS, silent)
    for one, other in zip(ours, theirs, strict=True):
        assert other.loglikelihoods == pytest.approx(one.loglikelihoods, abs=1e-4)
        assert (other.tokens_in, other.tokens_out) == (one.tokens_in, one.tokens_out)
        assert other.greedy == one.greedy
    assert served.runtime.tokenizer == plain.runtime.tokenizer
    assert served.runtime.versions["scoring"] == "echo of token ids"


def test_the_servers_own_tokenizer_serves_as_well(url: str, plain: Engine) -> None:
    asked = [
        request for request in QUESTIONS if request.context
    ]  # what an empty text begins with is not told
    ours = plain.loglikelihood(asked, silent)
    served = ask_server(url, NAME)
    for one, other in zip(ours, served.loglikelihood(asked, silent), strict=True):
        assert other.loglikelihoods == pytest.approx(one.loglikelihoods, abs=1e-4)
    assert served.runtime.tokenizer == ""


def test_texts_serve_where_no_tokenizer_is_known(url: str, dialect: Dialect, plain: Engine) -> None:
    dialect.routes = ()
    served = ask_server(url, NAME)
    asked = [request for request in QUESTIONS if request.context]
    ours = plain.loglikelihood(asked, silent)
    for one, other in zip(ours, served.loglikelihood(asked, silent), strict=True):
        assert other.loglikelihoods == pytest.approx(one.loglikelihoods, abs=1e-4)
        assert (other.tokens_in, other.tokens_out) == (one.tokens_in, one.tokens_out)
    assert served.runtime.versions["scoring"] == "echo of texts"
    with pytest.raises(EvaluationError, match="an empty context needs the token that texts begin with"):
        served.loglikelihood([LoglikelihoodRequest("", ("the dog",))], silent)


def test_a_tokenizer_here_and_a_server_that_takes_texts_only(
    url: str, dialect: Dialect, plain: Engine, weights: Path
) -> None:
    dialect.takes_ids = False
    served = ask_server(url, NAME, weights)
    asked = [QUESTIONS[0], QUESTIONS[4]]
    ours = plain.loglikelihood(asked, silent)
    for one, other in zip(ours, served.loglikelihood(asked, silent), strict=True):
        assert other.loglikelihoods == pytest.approx(one.loglikelihoods, abs=1e-4)
    assert served.runtime.versions["scoring"] == "echo of texts"


def test_an_echo_that_is_shifted_by_one_token_is_refused(url: str, dialect: Dialect, weights: Path) -> None:
    dialect.shift = True
    for lender in (weights, None):
        served = ask_server(url, NAME, lender)
        with pytest.raises(EvaluationError, match="they are shifted by one token") as caught:
            served.loglikelihood(QUESTIONS[:1], silent)
        assert "llama.cpp's own server, vLLM or SGLang" in str(caught.value.hint)
        # texts can still be generated
        assert served.generate_until([GenerateRequest("the cat", (), 3)], silent)[0].tokens_out == 3


def test_whole_texts_score_as_in_the_engine_with_the_same_weights(
    url: str, weights: Path, plain: Engine
) -> None:
    asked = [
        RollingRequest(text) for text in ("the cat sees a dog", "", "<s>one two", "the red dog eats " * 12)
    ]
    ours = plain.loglikelihood_rolling(asked, silent)
    theirs = ask_server(url, NAME, weights).loglikelihood_rolling(asked, silent)
    for one, other in zip(ours, theirs, strict=True):
        assert other.loglikelihood == pytest.approx(one.loglikelihood, abs=1e-3)
        assert other.tokens == one.tokens


def test_a_text_longer_than_the_server_reads_is_scored_in_windows(url: str, weights: Path) -> None:
    text = "the red dog eats a fish and " * 60
    (answer,) = ask_server(url, NAME, weights).loglikelihood_rolling([RollingRequest(text)], silent)
    import transformers

    assert answer.tokens == len(transformers.AutoTokenizer.from_pretrained(weights)(text)["input_ids"])
    assert answer.tokens > 256


def test_divergence_from_the_servers_twenty_likeliest_is_a_lower_bound(
    url: str, dialect: Dialect, weights: Path, plain: Engine, other_tiny_model: Path
) -> None:
    settings = EngineSettings(device="cpu")
    source = fetch(locate(ModelSettings(model=str(other_tiny_model)), weights), settings, weights, None)
    stored = open_engine(source, settings).loglikelihood(
        [dataclasses.replace(request, top=192) for request in QUESTIONS], silent
    )
    asked = [dataclasses.replace(q, reference=a.distribution) for q, a in zip(QUESTIONS, stored, strict=True)]
    exact = [answer.divergence for answer in plain.loglikelihood(asked, silent)]
    short = [answer.divergence for answer in ask_server(url, NAME, weights).loglikelihood(asked, silent)]
    dialect.longest_list = 384
    whole = [answer.divergence for answer in ask_server(url, NAME, weights).loglikelihood(asked, silent)]
    for one, few, many in zip(exact, short, whole, strict=True):
        assert one is not None
        assert few is not None
        assert many is not None
        assert few.same_top == many.same_top == one.same_top
        assert 0 <= few.kl <= one.kl + 1e-4
        assert many.kl == pytest.approx(one.kl, abs=1e-3)


def test_a_served_baseline_stores_its_list(url: str, weights: Path, plain: Engine) -> None:
    asked = [dataclasses.replace(QUESTIONS[0], top=128)]
    (theirs,) = ask_server(url, NAME, weights).loglikelihood(asked, silent)
    (ours,) = plain.loglikelihood([dataclasses.replace(QUESTIONS[0], top=20)], silent)
    assert theirs.distribution is not None
    assert ours.distribution is not None
    assert theirs.distribution.tokens == ours.distribution.tokens
    assert theirs.distribution.logprobs == pytest.approx(ours.distribution.logprobs, abs=1e-3)
    assert theirs.distribution.tail == pytest.approx(ours.distribution.tail, abs=1e-3)


def test_divergence_is_left_out_where_token_ids_are_not_told(
    url: str, dialect: Dialect, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dialect.names_ids = False
    asked = [dataclasses.replace(question, top=10) for question in QUESTIONS]
    answers = ask_server(url, NAME, weights).loglikelihood(asked, silent)
    assert all(answer.distribution is None for answer in answers)
    assert [r.message for r in caplog.records if "KL" in r.message] == [
        "tiny: KL divergence is left out: the server names likely tokens by text only"
    ]


TEXTS = [GenerateRequest(f"the {word}", (), 2, top=10) for word in ("cat", "dog", "bird", "fish")]


def test_the_first_token_of_a_text_is_measured_on_a_server_as_here(
    url: str, dialect: Dialect, weights: Path, plain: Engine, other_tiny_model: Path
) -> None:
    asked = [*TEXTS, GenerateRequest("the cat", (), 2)]
    ours, theirs = (
        engine.generate_until(asked, silent) for engine in (plain, ask_server(url, NAME, weights))
    )
    for one, other in zip(ours, theirs, strict=True):
        assert other.text == one.text
        assert (other.distribution is None) == (one.distribution is None)
        if one.distribution is not None and other.distribution is not None:
            assert other.distribution.tokens == one.distribution.tokens
            assert other.distribution.logprobs == pytest.approx(one.distribution.logprobs, abs=1e-3)
    settings = EngineSettings(device="cpu")
    source = fetch(locate(ModelSettings(model=str(other_tiny_model)), weights), settings, weights, None)
    wide = [dataclasses.replace(text, top=192) for text in TEXTS]
    stored = open_engine(source, settings).generate_until(wide, silent)
    moved = [
        dataclasses.replace(q, top=0, reference=a.distribution) for q, a in zip(TEXTS, stored, strict=True)
    ]
    dialect.longest_list = 384
    exact, found = (
        [answer.divergence for answer in engine.generate_until(moved, silent)]
        for engine in (plain, ask_server(url, NAME, weights))
    )
    assert [one and one.kl for one in found] == pytest.approx(
        [one and one.kl for one in exact], rel=1e-2, abs=1e-3
    )
    assert max(one.kl for one in exact if one is not None) > 0.1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"lists": False}, "the server lists no likely tokens"),
        ({"names_ids": False}, "the server names likely tokens by text only"),
        ({"longest_list": 0}, "the server lists no likely tokens"),
        ({"longest_list": 0, "refusal": 500}, "the server lists no likely tokens"),
    ],
)
def test_texts_are_not_lost_with_what_is_measured_beside_them(
    url: str,
    dialect: Dialect,
    weights: Path,
    plain: Engine,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
    why: str,
) -> None:
    for name, value in changes.items():
        setattr(dialect, name, value)
    served = ask_server(url, NAME, weights, {"concurrency": 1})
    asked = TEXTS[:1] if "refusal" in changes else TEXTS * 5  # a status 500 is asked again after a while
    expected = [one.text for one in plain.generate_until(asked, silent)]
    for _ in range(1 if "refusal" in changes else 2):
        answers = served.generate_until(asked, silent)
        assert [one.text for one in answers] == expected
        assert all(one.distribution is None for one in answers)
    assert [r.message for r in caplog.records if "KL" in r.message] == [
        f"tiny: KL divergence is left out: {why}"
    ]
    listed = [body for _, body, _ in dialect.asked if body.get("logprobs") is not None]
    assert 0 < len(listed) <= 8 * 3  # not of every text for ever; three lengths of the list are tried


def test_without_echo_choices_of_one_token_are_looked_up(
    url: str, dialect: Dialect, plain: Engine, weights: Path
) -> None:
    dialect.echo, dialect.longest_list = False, 384
    served = ask_server(url, NAME, weights)
    asked = [LoglikelihoodRequest("the big dog sees a", (" cat", " bird", " fish"))]
    (ours,), (theirs,) = plain.loglikelihood(asked, silent), served.loglikelihood(asked, silent)
    assert theirs.loglikelihoods == pytest.approx(ours.loglikelihoods, abs=1e-4)
    assert served.runtime.versions["scoring"] == "list of likely next tokens"
    with pytest.raises(EvaluationError, match="the choice ' big cat' after") as caught:
        served.loglikelihood([LoglikelihoodRequest("the", (" cat", " big cat"))], silent)
    assert "letter of the answer" in str(caught.value.hint)
    with pytest.raises(EvaluationError, match="whole texts cannot be scored"):
        served.loglikelihood_rolling([RollingRequest("the cat")], silent)


def test_without_any_log_probabilities_choices_are_refused(url: str, dialect: Dialect, weights: Path) -> None:
    dialect.lists = False
    with pytest.raises(EvaluationError, match=r"neither log-probabilities of prompts .* nor lists"):
        ask_server(url, NAME, weights).loglikelihood(QUESTIONS, silent)


@pytest.mark.parametrize("form", ["ids", "texts", "no tokenizer here"])
def test_texts_are_those_of_the_engine_with_the_same_weights(
    url: str, dialect: Dialect, weights: Path, plain: Engine, form: str
) -> None:
    dialect.takes_ids = form == "ids"
    asked = [
        GenerateRequest(context, stop, 12)
        for context in ("the cat", "Q: What is one?\nA:", "the red bird sees")
        for stop in ((), (" dog", " the", "e"))
    ]
    served = ask_server(url, NAME, None if form == "no tokenizer here" else weights)
    for stop in ((), (" dog", " the", "e")):
        chosen = [request for request in asked if request.stop == stop]
        ours, theirs = plain.generate_until(chosen, silent), served.generate_until(chosen, silent)
        assert [answer.text for answer in theirs] == [answer.text for answer in ours]
        assert [answer.tokens_in for answer in theirs] == [answer.tokens_in for answer in ours]


def test_sampling_settings_reach_the_server_and_its_own_defaults_do_not(url: str, dialect: Dialect) -> None:
    ask_server(url, NAME).generate_until(
        [GenerateRequest("the", ("\n",), 4, temperature=0.3, seed=7)], silent
    )
    sent = dialect.asked[-1][1]
    assert {name: sent[name] for name in ("temperature", "seed", "top_p", "top_k", "min_p", "stop")} == {
        "temperature": 0.3,
        "seed": 7,
        "top_p": 1,
        "top_k": -1,
        "min_p": 0,
        "stop": ["\n"],
    }


def test_chats_are_rendered_by_the_tokenizer_here_or_not_at_all(
    url: str, weights: Path, plain: Engine
) -> None:
    messages = [Message("user", "What is one?")]
    assert ask_server(url, NAME, weights).render_chat(messages) == plain.render_chat(messages)
    with pytest.raises(TaskError, match="shows no chat template") as caught:
        ask_server(url, NAME).render_chat(messages)
    assert "Set `tokenizer:`" in str(caught.value.hint)


@pytest.mark.parametrize("routes", [("/version", "/tokenize"), ()])
def test_a_tokenizer_that_is_not_the_served_models_is_refused(
    url: str, dialect: Dialect, tmp_path: Path, weights: Path, routes: tuple[str, ...]
) -> None:
    import shutil

    from tokenizers import Tokenizer

    dialect.routes = routes
    other = Path(shutil.copytree(weights, tmp_path / "other"))
    tokenizer = Tokenizer.from_file(str(other / "tokenizer.json"))
    tokenizer.add_tokens(["capital"])
    tokenizer.save(str(other / "tokenizer.json"))
    with pytest.raises(ModelError, match=r"tokenises 'The capital of France is Paris\.' as") as caught:
        ask_server(url, NAME, other)
    assert "no longer be of the weights alone" in caught.value.message


def test_a_model_that_is_not_served_is_named_with_those_that_are(url: str) -> None:
    with pytest.raises(ModelError, match="does not serve it; it serves: tiny"):
        ask_server(url, "large")


# identity


def test_a_served_model_is_the_same_at_another_address(dialect: Dialect) -> None:
    with serve(dialect) as one, serve(dialect) as other:
        assert one != other
        assert served_identity(one, NAME) == served_identity(other, NAME)


def test_other_weights_behind_the_same_address_are_another_model(
    url: str, dialect: Dialect, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    before = served_identity(url, NAME)
    assert before.weights.startswith("served ")
    pinned = served_identity(url, NAME, revision="v1")
    other = write_taught_model(tmp_path / "other", seed=1)
    kept, dialect.model = dialect.model, AutoModelForCausalLM.from_pretrained(other).eval()
    try:
        assert served_identity(url, NAME).fingerprint != before.fingerprint
        # a revision that the user names stands for the weights
        assert served_identity(url, NAME, revision="v1") == pinned
    finally:
        dialect.model = kept
    assert served_identity(url, NAME) == before
    assert (
        len({before.fingerprint, pinned.fingerprint, served_identity(url, NAME, revision="v2").fingerprint})
        == 3
    )


def test_no_text_is_generated_where_a_revision_is_named(url: str, dialect: Dialect) -> None:
    served_identity(url, NAME, revision="v1")
    assert "/v1/completions" not in [route for route, *_ in dialect.asked]
