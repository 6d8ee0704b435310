"""Many prompts per request, given token ids (vLLM) and SGLang's own route: the scores are those of transformers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_sglang import FakeSglang
from support.fake_vllm import NAME, FakeVllm, serve, unchanged
from support.opened import open_model, silent
from support.served import open_served

from gate.engines import Engine
from gate.engines.openai import batches
from gate.engines.openai.given import computed_tokens, shared, steps_of
from gate.engines.tokens.sequences import ScoredSequence
from gate.errors import EvaluationError
from gate.tasks.requests import GenerateRequest, LoglikelihoodAnswer, LoglikelihoodRequest, RollingRequest

LONG = "the red dog eats a fish and " * 12
REQUESTS = [
    LoglikelihoodRequest("Q: Which animal sees the red bird?\nA:", (" cat", " a big dog", " fish")),
    LoglikelihoodRequest("the cat is", (" red", " blue")),
    LoglikelihoodRequest("", ("the dog", " runs")),
    LoglikelihoodRequest(LONG, ("sees a bird", "eats the cat")),
    LoglikelihoodRequest("the dog eats", (" the fish", " the fish runs")),
]


@pytest.fixture(scope="module")
def references(other_tiny_model: Path) -> list[LoglikelihoodRequest]:
    """The requests with the 100 likeliest tokens of another model as references."""
    stored = open_model(other_tiny_model).loglikelihood(
        [dataclasses.replace(request, top=100) for request in REQUESTS], silent
    )
    return [dataclasses.replace(q, reference=a.distribution) for q, a in zip(REQUESTS, stored, strict=True)]


@pytest.fixture(scope="module")
def vllm(weights: Path) -> FakeVllm:
    return FakeVllm(weights)


@pytest.fixture(scope="module")
def sglang(weights: Path) -> FakeSglang:
    return FakeSglang(weights)


@pytest.fixture(autouse=True)
def each_unchanged(vllm: FakeVllm, sglang: FakeSglang) -> Iterator[None]:
    """Undo what a test changes on a server."""
    with unchanged(vllm), unchanged(sglang):
        yield


def assert_same(ours: list[LoglikelihoodAnswer], theirs: list[LoglikelihoodAnswer]) -> None:
    for expected, actual in zip(ours, theirs, strict=True):
        assert actual.loglikelihoods == pytest.approx(expected.loglikelihoods, abs=1e-4)
        assert (actual.tokens_in, actual.tokens_out) == (expected.tokens_in, expected.tokens_out)
        assert actual.greedy == expected.greedy


def bodies(server: FakeVllm, route: str = "/v1/completions") -> list[dict[str, Any]]:
    return [body for path, body, _ in server.requests if path == route]


def sizes(server: FakeVllm) -> list[list[int]]:
    """Return the lengths of the prompts of each request."""
    prompts = [body["prompt"] for body in bodies(server)]
    return [list(map(len, prompt if isinstance(prompt[0], list) else [prompt])) for prompt in prompts]


# many prompts per request


def test_many_prompts_share_a_request_up_to_its_tokens(
    vllm: FakeVllm, weights: Path, plain: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "TOKENS", 300)
    requests = REQUESTS * 4
    with serve(vllm) as url:
        served = open_served(url, NAME, weights, {"concurrency": 1})
        served.loglikelihood(REQUESTS[:1], silent)  # probes the server
        vllm.requests.clear()
        assert_same(plain.loglikelihood(requests, silent), served.loglikelihood(requests, silent))
    lengths = sizes(vllm)
    prompts = sum(len(request.continuations) for request in requests)
    assert sum(map(len, lengths)) == prompts
    assert len(lengths) < prompts / 3
    assert all(sum(each) <= 300 or len(each) == 1 for each in lengths)


def test_a_server_that_refuses_many_prompts_gets_one_per_request(vllm: FakeVllm, weights: Path, plain: Engine) -> None:
    vllm.accepts_many = False
    with serve(vllm) as url:
        served = open_served(url, NAME, weights)
        assert_same(plain.loglikelihood(REQUESTS, silent), served.loglikelihood(REQUESTS, silent))
    assert sum(len(each) > 1 for each in sizes(vllm)) == 1  # the probe


def test_a_server_that_refuses_later_gets_one_prompt_per_request(vllm: FakeVllm, weights: Path, plain: Engine) -> None:
    with serve(vllm) as url:
        served = open_served(url, NAME, weights, {"concurrency": 1})
        served.loglikelihood(REQUESTS[:1], silent)
        vllm.accepts_many = False
        requests = REQUESTS * 4
        assert_same(plain.loglikelihood(requests, silent), served.loglikelihood(requests, silent))


def test_an_answer_with_too_few_choices_is_an_error(
    vllm: FakeVllm, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(vllm) as url:
        served = open_served(url, NAME, weights)
        served.loglikelihood(REQUESTS[:1], silent)
        complete = vllm.complete

        def drop(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            status, reply = complete(body)
            is_batch = isinstance(body["prompt"][0], list)
            return status, {**reply, "choices": reply["choices"][1:]} if is_batch else reply

        monkeypatch.setattr(vllm, "complete", drop)
        with pytest.raises(EvaluationError, match="the server answers 3 prompts with 2 choices"):
            served.loglikelihood(REQUESTS[:1], silent)


def test_batches_keep_order_and_bounds() -> None:
    prompts = [[1] * size for size in (5, 4000, 200, 5000, 1, 1)]
    assert list(batches.by_tokens(prompts)) == [range(2), range(2, 3), range(3, 4), range(4, 6)]
    assert list(batches.by_tokens(prompts[:3], many=False)) == [range(1), range(1, 2), range(2, 3)]
    assert list(batches.by_tokens([])) == []
    assert [len(each) for each in batches.by_tokens([[1]] * 600)] == [256, 256, 88]


# given ids


@pytest.mark.parametrize(("limit", "block"), [(128, None), (20, None), (128, 4)])
def test_given_ids_score_like_transformers(
    vllm: FakeVllm, weights: Path, plain: Engine, limit: int, block: int | None
) -> None:
    vllm.max_given, vllm.block = limit, block
    with serve(vllm) as url:
        served = open_served(url, NAME, weights)
        assert_same(plain.loglikelihood(REQUESTS, silent), served.loglikelihood(REQUESTS, silent))
        assert served.runtime.versions["scoring"] == "given token ids, or their echo; KL at the baseline's tokens"
        vllm.requests.clear()
        served.loglikelihood(REQUESTS[1:2], silent)
        (body,) = bodies(vllm)  # one prompt without an echo, which the prefix cache may serve
        assert "echo" not in body
        assert len(body["logprob_token_ids"]) == body["logprobs"] == 2
        vllm.requests.clear()
        served.loglikelihood(REQUESTS[3:4], silent)
        assert any(body.get("echo") for body in bodies(vllm)) == (block is None)


def test_divergence_is_exact_at_the_tokens_of_the_baseline(
    vllm: FakeVllm, weights: Path, plain: Engine, references: list[LoglikelihoodRequest]
) -> None:
    vllm.max_given = 128
    exact = plain.loglikelihood(references, silent)
    with serve(vllm) as url:
        theirs = open_served(url, NAME, weights).loglikelihood(references, silent)
        vllm.max_given = 20
        coarse = open_served(url, NAME, weights).loglikelihood(references, silent)
        vllm.max_given = 0
        listed = open_served(url, NAME, weights).loglikelihood(references, silent)
    assert_same(exact, theirs)
    for ours, full, short, bound in zip(exact, theirs, coarse, listed, strict=True):
        assert ours.divergence is not None
        assert full.divergence is not None
        assert short.divergence is not None
        assert bound.divergence is not None
        assert full.divergence.kl == pytest.approx(ours.divergence.kl, abs=1e-3)
        assert full.divergence.variance == ours.divergence.variance
        assert full.divergence.same_top == short.divergence.same_top == ours.divergence.same_top
        assert 0 <= bound.divergence.kl <= ours.divergence.kl + 1e-4
        assert 0 <= short.divergence.kl <= ours.divergence.kl + 1e-4


def test_the_first_token_of_a_text_is_compared_at_the_tokens_of_the_baseline(
    vllm: FakeVllm, weights: Path, plain: Engine, references: list[LoglikelihoodRequest]
) -> None:
    vllm.max_given = 128
    chosen = [each for each in references if each.context == each.context.rstrip() != ""]
    requests = [GenerateRequest(each.context, (), 2, reference=each.reference) for each in chosen]
    with serve(vllm) as url:
        theirs = open_served(url, NAME, weights).generate_until(requests, silent)
    for ours, answer in zip(plain.loglikelihood(chosen, silent), theirs, strict=True):
        assert ours.divergence is not None
        assert answer.divergence is not None
        assert answer.divergence.kl == pytest.approx(ours.divergence.kl, abs=1e-3)


def test_a_server_that_ignores_given_ids_is_asked_for_echoes(vllm: FakeVllm, weights: Path) -> None:
    vllm.max_list = 384  # else the long list is refused already
    with serve(vllm) as url:
        served = open_served(url, NAME, weights)
        served.loglikelihood(REQUESTS[:1], silent)
        assert served.runtime.versions["scoring"] == "echo of token ids"


def test_wrong_log_probabilities_of_given_ids_are_noticed(
    vllm: FakeVllm, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vllm.max_given = 128
    table = FakeVllm._table

    def at_temperature_zero(self: FakeVllm, *arguments: Any) -> dict[str, Any]:
        result = table(self, *arguments)
        if arguments[-1] is not None:  # after sampling, only the sampled token is left
            result["top_logprobs"] = [{name: 0.0 if place == 0 else -9999.0 for place, name in enumerate(top)}
                                      for top in result["top_logprobs"]]  # fmt: skip
        return result

    monkeypatch.setattr(FakeVllm, "_table", at_temperature_zero)
    with serve(vllm) as url:
        served = open_served(url, NAME, weights)
        served.loglikelihood(REQUESTS[:1], silent)
        assert served.runtime.versions["scoring"] == "echo of token ids"


SEQUENCES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple), min_size=1, max_size=5)


@given(context=st.lists(st.integers(0, 3), min_size=1, max_size=9).map(tuple), continuations=SEQUENCES)
@settings(max_examples=60, deadline=None)
def test_the_steps_hold_every_scored_token_once(context: tuple[int, ...], continuations: list[tuple[int, ...]]) -> None:
    steps = steps_of([ScoredSequence(context + each, len(context)) for each in continuations])
    wanted = {(context + each[:place], each[place]) for each in continuations for place in range(len(each))}
    assert {(prefix, token) for prefix, tokens in steps.items() for token in tokens} == wanted
    assert all(len(tokens) == len(set(tokens)) for tokens in steps.values())
    without = computed_tokens(list(steps), None)
    assert without == sum(map(len, steps))
    with_cache = computed_tokens(list(steps), 2)
    assert len(steps) - 1 + len(next(iter(steps))) <= with_cache <= without
    groups = list(shared(steps, 20))
    assert [prefix for prefixes, _ in groups for prefix in prefixes] == list(steps)
    assert all(set(steps[prefix]) <= set(ids) for prefixes, ids in groups for prefix in prefixes)


def test_ids_are_shared_up_to_a_bound() -> None:
    steps = {(number,): [2 * number, 2 * number + 1] for number in range(40)}
    assert [len(ids) for _, ids in shared(steps, 128)] == [32, 32, 16]
    assert [len(ids) for _, ids in shared({(1,): list(range(100)), (2,): [5], (3,): [200]}, 128)] == [100, 1]
    same = {(number,): [1, 2, 3, 4] for number in range(50)}
    assert len(list(shared(same, 128))) == 1


# SGLang's own route


def test_sglang_scores_like_transformers(sglang: FakeSglang, weights: Path, plain: Engine) -> None:
    with serve(sglang) as url:
        served = open_served(url, NAME, weights, {"concurrency": 2})
        assert_same(plain.loglikelihood(REQUESTS, silent), served.loglikelihood(REQUESTS, silent))
        assert served.runtime.versions["scoring"] == "SGLang's /generate; KL at the baseline's tokens"
        assert served.runtime.stack["server"] == "sglang 0.0.tiny"
        sglang.requests.clear()
        (answer,) = served.loglikelihood(REQUESTS[4:5], silent)
        (body,) = bodies(sglang, "/generate")
        # only the continuations' log-probabilities are computed
        ends = [len(ids) - start for ids, start in zip(body["input_ids"], body["logprob_start_len"], strict=True)]
        assert sum(ends) == answer.tokens_out + 2
        texts = [RollingRequest(text) for text in ("the cat sees a dog", LONG * 2)]
        ours, theirs = plain.loglikelihood_rolling(texts, silent), served.loglikelihood_rolling(texts, silent)
        for expected, actual in zip(ours, theirs, strict=True):
            assert actual.tokens == expected.tokens


def test_sglang_compares_at_the_tokens_of_the_baseline(
    sglang: FakeSglang, weights: Path, plain: Engine, references: list[LoglikelihoodRequest]
) -> None:
    with serve(sglang) as url:
        served = open_served(url, NAME, weights)
        theirs = served.loglikelihood(references, silent)
        stored = served.loglikelihood([dataclasses.replace(each, top=5) for each in REQUESTS], silent)
    for ours, answer in zip(plain.loglikelihood(references, silent), theirs, strict=True):
        assert ours.divergence is not None
        assert answer.divergence is not None
        assert answer.divergence.kl == pytest.approx(ours.divergence.kl, abs=1e-3)
        assert answer.divergence.same_top == ours.divergence.same_top
    expected = plain.loglikelihood([dataclasses.replace(each, top=5) for each in REQUESTS], silent)
    for ours, answer in zip(expected, stored, strict=True):
        assert ours.distribution is not None
        assert answer.distribution is not None
        assert answer.distribution.tokens == ours.distribution.tokens


def test_sglang_without_its_own_route_is_asked_for_echoes(sglang: FakeSglang, weights: Path, plain: Engine) -> None:
    sglang.has_generate = False
    with serve(sglang) as url:
        served = open_served(url, NAME, weights)
        assert_same(plain.loglikelihood(REQUESTS, silent), served.loglikelihood(REQUESTS, silent))
        assert served.runtime.versions["scoring"] == "echo of token ids"


def test_sglang_that_refuses_many_prompts_gets_one_per_request(
    sglang: FakeSglang, weights: Path, plain: Engine
) -> None:
    sglang.accepts_many = False
    with serve(sglang) as url:
        theirs = open_served(url, NAME, weights).loglikelihood(REQUESTS, silent)
    assert_same(plain.loglikelihood(REQUESTS, silent), theirs)


def test_faults_of_sglang_are_errors(sglang: FakeSglang, weights: Path) -> None:
    sglang.shifts_tails = True
    with serve(sglang) as url:
        with pytest.raises(EvaluationError, match="they are shifted by one token"):
            open_served(url, NAME, weights).loglikelihood(REQUESTS, silent)
        sglang.shifts_tails, sglang.drops_ids = False, True
        with pytest.raises(EvaluationError, match="without log-probabilities of all token ids"):
            open_served(url, NAME, weights).loglikelihood(REQUESTS, silent)


@pytest.mark.parametrize(("count", "what"), [(1, "The prompt"), (40, r"The first of 10 prompts")])
def test_a_failed_request_for_scores_names_its_first_prompt(
    vllm: FakeVllm, weights: Path, monkeypatch: pytest.MonkeyPatch, count: int, what: str
) -> None:
    requests = [LoglikelihoodRequest(f"the cat number {number} is", (" red",)) for number in range(count)]
    with serve(vllm) as url:
        engine = open_served(url, NAME, tokenizer=str(weights), engine={"concurrency": 1})
        engine.loglikelihood(requests[:1], silent)  # probes
        monkeypatch.setattr(vllm, "answer", lambda *_: (400, {"error": {"message": "no such layer"}}))
        with pytest.raises(EvaluationError, match=f"no such layer. {what} ends with 'the cat number 0 is'"):
            engine.loglikelihood(requests, silent)
