"""Packed rows give every choice its score in a plain row; models that do not support this are scored in plain rows."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.architectures import PACKED, PLAIN, build
from support.opened import open_model, silent
from support.tiny import WORDS

from gate.engines.hf import SCORING
from gate.engines.hf.model.capabilities import read_capabilities
from gate.engines.hf.model.load import LoadedModel
from gate.engines.hf.scoring.check import self_check
from gate.engines.hf.scoring.method import Method, choose_method
from gate.engines.hf.scoring.packing import plan_groups
from gate.engines.hf.scoring.scorer import Scorer
from gate.engines.hf.scoring.trees import build_tree, unpacked
from gate.engines.tokens.rows import Row, Target, _merge_prefixes, scoring_rows
from gate.tasks.requests import LoglikelihoodAnswer, LoglikelihoodRequest

torch.set_num_threads(1)
WORD = st.sampled_from([word for word in WORDS if word.strip()])
PHRASE = st.lists(WORD, min_size=1, max_size=6).map(lambda words: " " + " ".join(words))
QUESTION = st.tuples(st.lists(WORD, max_size=8).map(" ".join), st.lists(PHRASE, min_size=1, max_size=4, unique=True))
BLOCK = "Q : What does the cat eat ? A : a small fish . " * 3


def requests_of(questions: list[tuple[str, list[str]]], block: str = "") -> list[LoglikelihoodRequest]:
    return [LoglikelihoodRequest(block + context, tuple(choices), top=3) for context, choices in questions]


def scorer_of(loaded: LoadedModel, method: Method | None = None, tokens: int = 300, length: int = 256) -> Scorer:
    return Scorer(loaded, tokens, length, method)


def assert_same(
    answers: list[LoglikelihoodAnswer], expected: list[LoglikelihoodAnswer], tolerance: float = 1e-4
) -> None:
    for answer, reference in zip(answers, expected, strict=True):
        assert answer.loglikelihoods == pytest.approx(reference.loglikelihoods, abs=tolerance)
        assert (answer.tokens_in, answer.tokens_out, answer.greedy) == (
            reference.tokens_in,
            reference.tokens_out,
            reference.greedy,
        )
        assert answer.distribution is not None
        assert reference.distribution is not None
        assert answer.distribution.tokens[0] == reference.distribution.tokens[0]


@pytest.fixture(scope="module")
def models(tiny_model: Path) -> dict[str, LoadedModel]:
    return {name: build(name, options, tiny_model) for name, options in PACKED.items()}


@pytest.mark.parametrize("name", sorted(PACKED))
@given(st.lists(QUESTION, min_size=1, max_size=5), st.booleans())
@settings(max_examples=5, deadline=None, derandomize=True)
def test_packed_scores_are_plain_scores(
    models: dict[str, LoadedModel], name: str, questions: list[tuple[str, list[str]]], block: bool
) -> None:
    requests = requests_of(questions, BLOCK if block else "")
    scorer = scorer_of(models[name])
    assert scorer.method.packed, scorer.method.reason
    plain = scorer.one_at_a_time().loglikelihood(requests, silent)
    assert_same(scorer.loglikelihood(requests, silent), plain)


@pytest.mark.parametrize("name", sorted(PACKED))
def test_a_shared_few_shot_block_is_computed_once_and_changes_no_score(
    models: dict[str, LoadedModel], name: str
) -> None:
    requests = requests_of([(f"Q : What {word} ?", [" a cat", " a dog sees", " red"]) for word in WORDS[:30]], BLOCK)
    scorer = scorer_of(models[name], length=250)
    (group,) = scorer._groups(_rows(scorer, requests))
    assert len(group.prefix) > 40
    for _ in range(2):  # the second call reuses the keys and values of the block
        assert_same(scorer.loglikelihood(requests, silent), scorer.one_at_a_time().loglikelihood(requests, silent))


def _rows(scorer: Scorer, requests: list[LoglikelihoodRequest]) -> list[Row]:
    return scoring_rows(scorer.loaded.tokenizer, requests, 256)


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_models_that_do_not_support_packing_are_scored_in_plain_rows_and_the_log_gives_the_reason(
    tiny_model: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    options, reason = PLAIN[name]
    scorer = scorer_of(build(name, options, tiny_model))
    requests = requests_of([("the cat", [" sees a dog", " eats", " is big"]), ("Q : What", [" a", " red fish"])])
    with caplog.at_level(logging.WARNING, logger="gate"):
        answers = scorer.loglikelihood(requests, silent)
        scorer.loglikelihood(requests, silent)
    assert_same(answers, scorer.one_at_a_time().loglikelihood(requests, silent))
    (message,) = (record.message for record in caplog.records if record.name.startswith("gate"))
    assert message.startswith("the model scores one choice per row, without shared contexts: ")
    assert reason in message
    assert scorer.method_name == f"{SCORING} (plain rows)"


@pytest.mark.parametrize("name", ["mistral", "gemma3_text"])
def test_rows_longer_than_a_sliding_window_are_not_packed(models: dict[str, LoadedModel], name: str) -> None:
    scorer = scorer_of(models[name])
    longest = PACKED[name]["sliding_window"]
    assert scorer.method.window == longest
    words = " cat dog" * (longest // 2 + 10)
    requests = requests_of([(words, [" sees", " a dog"]), ("the cat", [" sees", " a dog"]), (words, [" red fish"])])
    groups = scorer._groups(_rows(scorer, requests))
    assert any(len(tree.tokens) > longest for group in groups for tree in group.trees)
    for group in groups:
        for tree in group.trees:
            assert tree.linear or len(group.prefix) + len(tree.tokens) <= longest
    assert_same(scorer.loglikelihood(requests, silent), scorer.one_at_a_time().loglikelihood(requests, silent))


def test_models_with_flash_attention_or_remote_code_are_not_packed(tiny_model: Path) -> None:
    loaded = build("llama", PACKED["llama"], tiny_model)
    loaded.model.config._attn_implementation = "flash_attention_2"
    assert "flash_attention_2 accepts no 4-D mask" in read_capabilities(loaded.model).obstacle
    loaded.model.config._attn_implementation = "sdpa"
    assert read_capabilities(loaded.model).obstacle == ""
    type(loaded.model).__module__, own = "transformers_modules.ours", type(loaded.model).__module__
    try:
        method = choose_method(loaded)
    finally:
        type(loaded.model).__module__ = own
    assert not method.packed
    assert "its code comes from the model repository" in method.reason


def ignoring(change: str, folder: Path) -> LoadedModel:
    """Return a model that ignores one of its inputs."""
    loaded = build("llama", PACKED["llama"], folder)
    inner = loaded.model.model
    own = inner.forward

    def forward(**given: Any) -> Any:
        past = given.get("past_key_values")
        if change == "mask" and given.get("attention_mask") is not None:
            given["attention_mask"] = None
        if change == "positions" and given.get("position_ids") is not None:
            given["position_ids"] = None
        if change == "cache" and past is not None and past.get_seq_length():
            given["position_ids"] = given["position_ids"] - past.get_seq_length()
        return own(**given)

    inner.forward = forward
    return loaded


@pytest.mark.parametrize("change", ["mask", "positions", "cache"])
def test_the_probe_detects_a_model_that_ignores_its_mask_positions_or_cache(tiny_model: Path, change: str) -> None:
    method = choose_method(ignoring(change, tiny_model))
    assert not method.packed
    assert "rows differ from plain rows" in method.reason or "fails" in method.reason


def test_models_with_eager_attention_are_packed(tiny_model: Path) -> None:
    loaded = build("llama", PACKED["llama"], tiny_model, attn_implementation="eager")
    scorer = scorer_of(loaded)
    assert scorer.method.packed
    requests = requests_of([("the cat", [" sees a dog", " eats", " is big"]), ("a", [" b", " red fish"])])
    assert_same(scorer.loglikelihood(requests, silent), scorer.one_at_a_time().loglikelihood(requests, silent))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_models_in_half_precision_are_packed(tiny_model: Path, dtype: torch.dtype) -> None:
    loaded = build("llama", PACKED["llama"], tiny_model, dtype=dtype)
    scorer = scorer_of(loaded)
    assert scorer.method.packed
    requests = requests_of([("the cat", [" sees a dog", " eats", " is big"])])
    packed, plain = (each.loglikelihood(requests, silent) for each in (scorer, scorer.one_at_a_time()))
    assert packed[0].loglikelihoods == pytest.approx(plain[0].loglikelihoods, abs=0.5)


def test_the_runtime_names_the_method_after_the_first_score(tiny_model: Path) -> None:
    engine = open_model(tiny_model)
    assert "scoring" not in engine.runtime.versions
    engine.loglikelihood([LoglikelihoodRequest("the cat", (" sees",))], silent)
    assert engine.runtime.versions["scoring"] == SCORING


def test_broken_weights_give_nan_in_packed_rows(tiny_model: Path) -> None:
    loaded = build("llama", PACKED["llama"], tiny_model)
    with torch.no_grad():
        loaded.model.model.norm.weight.fill_(float("nan"))
    (answer,) = scorer_of(loaded).loglikelihood([LoglikelihoodRequest("the", (" cat sees", " dog"))], silent)
    assert all(value != value for value in answer.loglikelihoods)


def test_the_self_check_reports_the_distance_from_plain_scores(models: dict[str, LoadedModel]) -> None:
    report = self_check(Scorer(models["llama"], None, 4096))
    assert report.method == SCORING
    assert report.continuations == 48
    assert report.max_difference < 1e-3  # sums of hundreds of tokens of a byte-level tokenizer
    assert (report.same_top, report.same_choice) == (1.0, 1.0)


def test_the_self_check_detects_a_wrong_method(tiny_model: Path) -> None:
    loaded = ignoring("positions", tiny_model)
    report = self_check(Scorer(loaded, None, 4096, Method(packed=True, gathered=True)))
    assert report.max_difference > 0.1


# trees


def row(number: int, tokens: list[int], context: int) -> Row:
    """Return a row with all but the last of `tokens`."""
    return Row(tuple(tokens[:-1]), (Target((number, len(tokens)), len(tokens) - 1, tuple(tokens[context:])),))


def test_a_tree_contains_shared_tokens_once() -> None:
    rows = [row(0, [1, 2, 3, 4, 5], 2), row(0, [1, 2, 3, 6, 7, 8], 2), row(0, [1, 2, 9, 9], 2)]
    tree = build_tree(rows, 0)
    assert tree.tokens == [1, 2, 3, 4, 6, 7, 9]
    assert tree.position_ids == [0, 1, 2, 3, 3, 4, 2]
    assert tree.ends == [7, 7, 6, 4, 6, 6, 7]
    assert [target.at for target in tree.targets] == [(1, 2, 3), (1, 2, 4, 5), (1, 6)]
    assert not tree.linear
    assert build_tree(rows[:1], 0).linear
    assert not build_tree(rows[:1], 1).linear


TOKENS = st.lists(st.integers(0, 2), min_size=2, max_size=9)


@given(st.lists(TOKENS, min_size=1, max_size=12), st.integers(5, 60), st.integers(0, 40))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_every_target_is_planned_once_and_attends_only_to_its_own_text(
    texts: list[list[int]], max_tokens: int, block: int
) -> None:
    grouped: dict[tuple[int, ...], list[Target]] = {}
    wanted = {}
    head = [3] * block * 40  # long enough to be worth a prefix
    for number, text in enumerate(texts):
        whole = head + text
        wanted[number, 0] = whole
        context = len(head) + 1
        target = Target((number, 0), len(whole) - 1, tuple(whole[context:]))
        grouped.setdefault(tuple(whole[:-1]), []).append(target)
    groups = plan_groups(_merge_prefixes(grouped), max_tokens)
    seen = {}
    for group in groups:
        for tree in group.trees:
            for target in tree.targets:
                place = target.at[-1]
                text = [*group.prefix, *(tree.tokens[k] for k in range(place + 1) if place < tree.ends[k])]
                seen[target.indices] = [*text, target.ids[-1]]
                assert target.context == len(head) + 1
                for at, token in zip(target.at[1:], target.ids, strict=False):
                    assert tree.tokens[at] == token
    assert seen == wanted
    assert sum(len(tree.targets) for group in groups for tree in group.trees) == len(texts)


def test_items_that_are_few_shot_examples_themselves_leave_the_prefix_of_the_others_intact() -> None:
    shots = [[10 + shot] * 100 for shot in range(6)]
    rows = []
    for item in range(40):
        used = [shot for shot in range(6) if shot != item][:5]  # item 3 is example 3
        context = [token for shot in used for token in shots[shot]] + [100 + item]
        rows.append(row(item, [*context, 1, 2, 3], len(context)))
    groups = plan_groups(sorted(rows, key=lambda row: row.tokens), 1024)
    assert max(len(group.prefix) for group in groups) == 500
    assert sum(len(tree.targets) for group in groups for tree in group.trees if len(group.prefix) == 500) == 35


def test_unpacked_rows_stay_as_they_are() -> None:
    rows = [row(0, [1, 2, 3], 1), row(1, [1, 2, 4, 5], 1)]
    assert [(tree.linear, tree.tokens) for tree in unpacked(rows).trees] == [
        (True, [1, 2]),
        (True, [1, 2, 4]),
    ]


def test_choices_share_a_long_context_even_in_small_batches() -> None:
    context = list(range(1000))
    rows = [row(0, [*context, 1, *range(number, number + 9)], 1000) for number in (2, 3, 4)]
    (group,) = plan_groups(rows, 64)
    assert [len(tree.targets) for tree in group.trees] == [3]
    short = [row(number, [*range(5, 45), 1, number], 40) for number in (2, 3)]
    assert [len(tree.targets) for tree in plan_groups(short, 8)[0].trees] == [2]


def test_a_very_long_context_becomes_a_prefix() -> None:
    context = list(range(5000))
    rows = [row(0, [*context, 1, *range(number, number + 9)], 5000) for number in (2, 3, 4)]
    (group,) = plan_groups(rows, 1024)
    assert group.prefix == tuple(context[:-1])  # its last token predicts the first token of the choices
    assert sum(len(tree.tokens) for tree in group.trees) == 1 + 1 + 3 * 8
