"""KL divergence along answers: all tokens of the right choice, and the baseline's own texts read by the candidate."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from support.evaluations import choice_task, opened, text_task

from gate.config import GateConfig, SampleSettings
from gate.engines import Engine
from gate.evaluation.answer import answer_items
from gate.evaluation.recording import Recording
from gate.evaluation.references import StoredDistributions
from gate.samples.along import item_means, measured_positions
from gate.samples.record import TaskSamples
from gate.tasks import Task
from gate.tasks.positions import chosen_positions, position_keys, text_seed
from gate.tasks.requests import Later, LoglikelihoodRequest

WIDE = Recording(300, 40, 64)  # of 384 tokens, so that estimates are close


@pytest.fixture(scope="module")
def models(tiny_model: Path, other_tiny_model: Path) -> tuple[Engine, Engine]:
    return opened(tiny_model)[0], opened(other_tiny_model)[0]


def rows(task: Task, engine: Engine, recording: Recording, references: StoredDistributions | None = None) -> pa.Table:
    return answer_items(task, task.items, engine, lambda _: None, references, recording)


def stored(task: Task, table: pa.Table) -> StoredDistributions:
    return StoredDistributions(TaskSamples(task.name, task.metric, table))


def logprobs(engine: Any, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        logits = engine._loaded.model(torch.tensor([ids])).logits[0].double()
    return torch.log_softmax(logits, dim=-1).numpy()


def exact_mean(models: tuple[Engine, Engine], context: list[int], answer: list[int]) -> float:
    """Return the mean divergence over an answer's tokens, from plain forward passes."""
    before, after = (logprobs(engine, [*context, *answer]) for engine in models)
    places = range(len(context) - 1, len(context) + len(answer) - 1)
    return float(np.mean([(np.exp(before[at]) * (before[at] - after[at])).sum() for at in places]))


def test_every_token_of_the_right_choice_is_measured(tmp_path: Path, models: tuple[Engine, Engine]) -> None:
    task = choice_task(tmp_path)
    table = rows(task, models[0], WIDE)
    compared = rows(task, models[1], WIDE, stored(task, table))
    positions = measured_positions(compared)
    assert positions is not None
    means = item_means(positions)
    tokenizer = models[0]._loaded.tokenizer  # type: ignore[attr-defined]
    for number in (0, 5, 11):
        item = task.items[number]
        context = tokenizer.encode(item.context)
        whole = tokenizer.encode(f"{item.context} {item.targets[0]}")
        assert whole[: len(context)] == context
        expected = exact_mean(models, context, whole[len(context) :])
        assert means[number] == pytest.approx(expected, rel=0.02, abs=1e-3)
        assert compared.column("answer_tokens")[number].as_py() == len(whole) - len(context)


def test_the_candidate_reads_the_text_of_the_baseline(tmp_path: Path, models: tuple[Engine, Engine]) -> None:
    task = text_task(tmp_path, max_tokens=12)
    table = rows(task, models[0], WIDE)
    compared = rows(task, models[1], WIDE, stored(task, table))
    tokens = table.column("text_tokens").to_pylist()
    assert compared.column("text_tokens").to_pylist() != tokens  # it generates texts of its own
    assert compared.column("answer_tokens").to_pylist() == [len(each) for each in tokens]
    positions = measured_positions(compared)
    assert positions is not None
    tokenizer = models[0]._loaded.tokenizer  # type: ignore[attr-defined]
    means = item_means(positions)
    for number in (0, 7):
        context = tokenizer.encode(task.items[number].context)
        expected = exact_mean(models, context, tokens[number])
        assert means[number] == pytest.approx(expected, rel=0.03, abs=1e-3)


def test_long_texts_store_a_sample_of_positions(tmp_path: Path, models: tuple[Engine, Engine]) -> None:
    task = text_task(tmp_path, max_tokens=24)
    table = rows(task, models[0], Recording(16, 4, 5))
    lengths = [len(tokens) for tokens in table.column("text_tokens").to_pylist()]
    kept = [1 + len(positions or []) for positions in table.column("later_positions").to_pylist()]
    assert kept == [min(5, length) for length in lengths]
    assert max(lengths) > 5
    assert {len(tokens) for tokens in table.column("later_top_tokens").to_pylist() if tokens} <= {16 * 4}
    assert rows(task, models[0], Recording(16, 4, 5)).equals(table)
    itself = rows(task, models[0], Recording(16, 4, 5), stored(task, table))
    assert max(kl for each in itself.column("later_kl").to_pylist() for kl in each or [0.0]) < 1e-3


def test_of_many_texts_a_random_sample_is_measured(tmp_path: Path, models: tuple[Engine, Engine]) -> None:
    task = text_task(tmp_path, max_tokens=6)
    recording = Recording(64, 16, 4, texts=10)
    table = rows(task, models[0], recording)
    stored_ids = [row["item_id"] for row in table.to_pylist() if row["tail_mass"] is not None]
    assert set(stored_ids) == recording.chosen_of(task)
    assert len(stored_ids) == 10
    assert table.column("text_tokens").null_count == 0
    assert {row["item_id"] for row in table.to_pylist() if row["later_positions"]} <= set(stored_ids)
    every = rows(task, models[0], Recording(64, 16, 4)).to_pylist()
    assert [row for row in table.to_pylist() if row["tail_mass"] is not None] == [
        row for row in every if row["item_id"] in stored_ids
    ]
    # the candidate measures where the baseline stores, whatever its own settings say
    compared = rows(task, models[1], Recording(64, 16, 4, texts=3), stored(task, table))
    assert [row["item_id"] for row in compared.to_pylist() if row["kl"] is not None] == stored_ids
    choices = choice_task(tmp_path)
    assert rows(choices, models[0], recording).column("tail_mass").null_count == 0  # texts only


def test_with_early_stopping_every_text_is_measured() -> None:
    task = {"name": "t", "file": "t.jsonl", "kind": "generate_until", "prompt": "{{ q }}", "answer": "{{ a }}"}
    values = {"version": 1, "baseline": {"model": "a"}, "candidate": {"model": "b"}, "tasks": [task]}
    config = GateConfig.model_validate({**values, "distance": {"kl_texts": 5}})
    early = GateConfig.model_validate(
        {**values, "distance": {"kl_texts": 5}, "decision": {"early_stop": {"alpha": 0.01}}}
    )
    assert Recording.of(config).texts == 5
    assert Recording.of(early).texts > 1e9


def test_a_sample_of_texts_is_drawn_again_with_other_items(tmp_path: Path) -> None:
    task = text_task(tmp_path)
    few = dataclasses.replace(task, items=task.items[:12])
    chosen = [Recording(texts=4).chosen_of(each) for each in (task, few)]
    assert [len(each) for each in chosen] == [4, 4]
    assert chosen[0] & {item.item_id for item in few.items} <= chosen[1]


def test_one_position_measures_the_first_token_only(tmp_path: Path, models: tuple[Engine, Engine]) -> None:
    task = text_task(tmp_path, SampleSettings(repeats=2, temperature=1.0), max_tokens=4)
    table = rows(task, models[0], Recording(16, 4, 1))
    assert table.column("later_positions").null_count == len(table)
    assert table.column("text_tokens").null_count >= 24  # later repeats


@pytest.mark.parametrize("count", [1, 4, 5, 6, 300])
def test_positions_are_a_seeded_sample_with_the_first_one(count: int) -> None:
    chosen = chosen_positions(count, 5, seed=3)
    assert chosen == sorted(set(chosen))
    assert chosen[0] == 0
    assert len(chosen) == min(count, 5)
    assert chosen == chosen_positions(count, 5, seed=3)
    assert (position_keys(count, 3) == position_keys(500, 3)[:count]).all()


def test_every_later_position_is_equally_likely() -> None:
    counts = np.bincount(np.concatenate([chosen_positions(9, 3, seed) for seed in range(4000)]), minlength=9)
    assert counts[0] == 4000
    assert np.abs(counts[1:] - 1000).max() < 5 * np.sqrt(1000 * 0.75)


def test_a_text_that_is_followed_needs_logits_at_the_chosen_positions_only(models: tuple[Engine, Engine]) -> None:
    engine, ids = models[0], tuple(range(10, 40))
    request = LoglikelihoodRequest("the cat", (), 16, None, 4, Later(6), ids)
    head = engine._loaded.model.get_output_embeddings()  # type: ignore[attr-defined]
    rows: list[int] = []
    engine.loglikelihood([request], lambda _: None)  # chooses how to score
    with head.register_forward_hook(lambda *values: rows.append(values[-1].shape[:-1].numel())):
        (answer,) = engine.loglikelihood([request], lambda _: None)
    assert rows == [6]
    assert answer.loglikelihoods == answer.greedy == ()
    assert answer.along is not None
    kept = [each.position for each in answer.along.distributions]
    assert [0, *kept] == chosen_positions(len(ids), 6, text_seed("the cat"))
    assert (answer.tokens_out, answer.along.tokens) == (30, 30)
