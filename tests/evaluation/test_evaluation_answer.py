"""From items to rows: repeats, stored distributions, progress."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from support.evaluations import choice_task, choice_task_of, opened, text_task
from support.tiny import write_tiny_task

from gate.config import SampleSettings
from gate.engines import Engine
from gate.evaluation.answer import answer_items
from gate.evaluation.recording import Recording
from gate.evaluation.references import StoredDistributions
from gate.samples.along import item_means
from gate.samples.pairing import pair
from gate.samples.record import SAMPLE_SCHEMA, ModelSamples, TaskSamples
from gate.tasks import Task
from gate.tasks.requests import draw_seed


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> Engine:
    return opened(tiny_model)[0]


@pytest.fixture(scope="module")
def other(other_tiny_model: Path) -> Engine:
    return opened(other_tiny_model)[0]


def repeated_text_task(folder: Path, **samples: Any) -> Task:
    return text_task(folder, SampleSettings(**samples), answer="{{ choices[gold] }}", cluster=None)


def rows(task: Task, engine: Engine, **arguments: Any) -> pa.Table:
    return answer_items(task, task.items, engine, lambda _: None, arguments.pop("references", None), **arguments)


def samples(task: Task, table: pa.Table) -> TaskSamples:
    return TaskSamples(task.name, task.metric, table, task.facets)


def test_every_repeat_is_a_row_with_its_own_seed(tmp_path: Path, tiny: Engine) -> None:
    task = repeated_text_task(tmp_path, repeats=3, temperature=1.5)
    table = rows(task, tiny)
    assert table.column("repeat").to_pylist() == [0, 1, 2] * 24
    assert table.column("item_id").to_pylist() == [item.item_id for item in task.items for _ in range(3)]
    outputs = table.column("output").to_pylist()
    assert len(set(outputs)) > 24
    assert len(set(table.column("prompt_hash").to_pylist())) == 24
    # the texts do not depend on the other items of a batch
    assert rows(task, tiny).equals(table)
    few = answer_items(task, task.items[5:7], tiny, lambda _: None, None)
    assert few.column("output").to_pylist() == outputs[15:21]


def test_another_seed_generates_other_texts_and_changes_the_fingerprint(tmp_path: Path, tiny: Engine) -> None:
    task, again = (repeated_text_task(tmp_path, repeats=2, temperature=1.5, seed=seed) for seed in (0, 1))
    assert rows(task, tiny).column("output") != rows(again, tiny).column("output")
    assert task.fingerprint != again.fingerprint
    # greedy decoding does not use the seed
    assert repeated_text_task(tmp_path, seed=0).fingerprint == repeated_text_task(tmp_path, seed=1).fingerprint


def test_multiple_choice_items_are_not_repeated(tmp_path: Path) -> None:
    write_tiny_task(tmp_path / "items.jsonl")
    once = choice_task_of(tmp_path)
    thrice = choice_task_of(tmp_path, SampleSettings(repeats=3, temperature=1.0))
    assert thrice.repeats == 1
    assert thrice.fingerprint == once.fingerprint


def test_pairing_averages_the_repeats_of_an_item(tmp_path: Path, tiny: Engine, other: Engine) -> None:
    task = repeated_text_task(tmp_path, repeats=4, temperature=1.0)
    tables = [rows(task, engine) for engine in (tiny, other)]
    sides = [ModelSamples(name, {"say": samples(task, table)}) for name, table in zip("ab", tables, strict=True)]
    (paired,) = pair(*sides).tasks
    assert paired.n == 24
    means = np.asarray(tables[0].column("score").to_pylist()).reshape(24, 4).mean(axis=1)
    assert paired.baseline_score.tolist() == means.tolist()


def test_seeds_differ_by_item_and_repeat_and_fit_in_31_bits() -> None:
    seeds = {draw_seed(0, item, repeat) for item in ("a", "b", "c") for repeat in range(100)}
    assert len(seeds) == 300
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert draw_seed(0, "a", 1) == 552346562  # stored sets must stay reproducible


@pytest.mark.parametrize(("top", "kept"), [(128, 128), (5, 5), ("whole", 384)])
def test_top_tokens_sets_how_many_tokens_of_a_distribution_are_stored(
    tmp_path: Path, tiny: Engine, other: Engine, top: Any, kept: int
) -> None:
    task = choice_task(tmp_path)
    table = rows(task, tiny, recording=Recording(top, 0))
    assert {len(one) for one in table.column("top_tokens").to_pylist()} == {kept}
    tails = table.column("tail_mass").to_pylist()
    assert max(tails) < 1e-3 if top == "whole" else min(tails) > 0
    references = StoredDistributions(samples(task, table))
    assert len(references) == 24
    one = references[task.items[3].item_id][0]
    assert list(one.tokens) == table.column("top_tokens")[3].as_py()
    compared = rows(task, other, references=references)
    divergences = compared.column("kl").to_pylist()
    assert min(divergences) > 0
    itself = rows(task, tiny, references=references)
    assert max(itself.column("kl").to_pylist()) < 1e-3
    assert set(itself.column("same_top").to_pylist()) == {True}
    assert compared.column("top_tokens").null_count == 24


def test_kl_divergence_is_measured_at_the_first_token_of_generated_texts(
    tmp_path: Path, tiny: Engine, other: Engine
) -> None:
    task = repeated_text_task(tmp_path, repeats=2, temperature=1.0)
    table = rows(task, tiny)
    kept = table.filter(pc.equal(table.column("repeat"), 0))
    assert {len(one) for one in kept.column("top_tokens").to_pylist()} == {64}
    assert table.column("tail_mass").null_count == 24  # later repeats have the same distribution
    references = StoredDistributions(samples(task, table))
    compared, itself = (rows(task, engine, references=references) for engine in (other, tiny))
    measured = replace(samples(task, compared), reference="a's")
    sides = [
        ModelSamples("a", {"say": samples(task, table)}, {"fingerprint": "a's"}),
        ModelSamples("b", {"say": measured}),
    ]
    (paired,) = pair(*sides).tasks
    assert paired.positions is not None
    assert paired.positions.rows.tolist() == list(range(24))
    assert item_means(paired.positions).min() > 0
    assert max(filter(None, itself.column("kl").to_pylist()), default=0.0) < 1e-3


def test_a_narrower_distribution_gives_a_smaller_divergence(tmp_path: Path, tiny: Engine, other: Engine) -> None:
    task = choice_task(tmp_path)
    divergences = []
    for top in (4, 64, "whole"):
        references = StoredDistributions(samples(task, rows(task, tiny, recording=Recording(top, 0))))
        divergences.append(np.asarray(rows(task, other, references=references).column("kl").to_pylist()))
    assert (divergences[0] <= divergences[1] + 1e-4).all()
    assert (divergences[1] <= divergences[2] + 1e-4).all()


def test_top_tokens_0_stores_no_distributions(tmp_path: Path, tiny: Engine) -> None:
    task = choice_task(tmp_path)
    table = rows(task, tiny, recording=Recording(0))
    assert table.column("tail_mass").null_count == 24
    assert len(StoredDistributions(samples(task, table))) == 0


def test_no_items_give_no_rows(tmp_path: Path, tiny: Engine) -> None:
    table = answer_items(choice_task(tmp_path), (), tiny, lambda _: None, None)
    assert table.schema == SAMPLE_SCHEMA
    assert table.num_rows == 0


def test_progress_counts_items_not_requests(tmp_path: Path, tiny: Engine) -> None:
    task = repeated_text_task(tmp_path, repeats=3, temperature=1.0)
    steps: list[int] = []
    answer_items(task, task.items, tiny, steps.append, None)
    assert sum(steps) == 24
    assert all(step > 0 for step in steps)


def parquet_bytes(table: pa.Table, columns: Sequence[str]) -> int:
    sink = io.BytesIO()
    pq.write_table(table.select(columns), sink, compression="zstd")
    return len(sink.getvalue())


def test_a_distribution_of_128_tokens_takes_less_than_2_kilobytes_of_parquet() -> None:
    """Worst case: token ids uniform over a vocabulary of 150,000 do not compress."""
    rng = np.random.default_rng(0)
    rows_ = [
        {
            "top_tokens": rng.integers(0, 150_000, 128).astype(np.int32),
            "top_logprobs": np.sort(np.log(rng.dirichlet(np.full(128, 0.3)) + 1e-6))[::-1].astype(np.float16),
            "tail_mass": float(rng.random()),
        }
        for _ in range(1000)
    ]
    columns = ("top_tokens", "top_logprobs", "tail_mass")
    schema = pa.schema([SAMPLE_SCHEMA.field(name) for name in columns])
    size = parquet_bytes(pa.Table.from_pylist(rows_, schema=schema), columns) / 1000
    assert 500 < size < 900  # bytes per item; the limit is 2,048


def test_broken_answers_are_recorded(tmp_path: Path, tiny: Engine) -> None:
    task = text_task(tmp_path, answer="{{ choices[gold] }}", cluster=None, extract="#(.)", max_tokens=3)
    table = rows(task, tiny)
    columns = (table.column(name).to_pylist() for name in ("problems", "finish_reason", "output"))
    for problems, reason, output in zip(*columns, strict=True):
        expected = {"truncated": reason == "length", "empty": not output.strip(), "unreadable": "#" not in output[:-1]}
        assert problems == " ".join(name for name, present in expected.items() if present)
    assert pc.any(pc.match_substring(table.column("problems"), "truncated")).as_py()
    choices = choice_task(tmp_path)
    assert rows(choices, tiny).column("problems").null_count == len(choices.items)
