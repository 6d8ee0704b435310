"""From items to rows: repeats, the width of the stored distributions, progress."""

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
from support.tiny import write_tiny_task

from gate.config import EngineSettings, ModelSettings, SampleSettings, TaskSettings
from gate.engines import Engine, fetch, locate, open_engine
from gate.evaluation.answer import answer_items, stored_references
from gate.samples.pairing import pair
from gate.samples.record import SAMPLE_SCHEMA, ModelSamples, TaskSamples
from gate.tasks import Task, build_task
from gate.tasks.requests import draw_seed


def opened(folder: Path) -> Engine:
    settings = EngineSettings(device="cpu")
    return open_engine(
        fetch(locate(ModelSettings(model=str(folder)), folder), settings, folder, None), settings
    )


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> Engine:
    return opened(tiny_model)


@pytest.fixture(scope="module")
def other(other_tiny_model: Path) -> Engine:
    return opened(other_tiny_model)


def choosing(folder: Path) -> Task:
    write_tiny_task(folder / "items.jsonl")
    settings = TaskSettings(
        name="animals",
        file="items.jsonl",
        prompt="Q: {{ question }}\nA:",
        choices="{{ choices }}",
        answer="{{ gold }}",
    )
    return build_task(settings, SampleSettings(), folder)


def writing(folder: Path, **samples: Any) -> Task:
    write_tiny_task(folder / "items.jsonl")
    settings = TaskSettings(
        name="say",
        file="items.jsonl",
        kind="generate_until",
        prompt="Q: {{ question }}\nA:",
        answer="{{ choices[gold] }}",
        max_tokens=4,
    )
    return build_task(settings, SampleSettings(**samples), folder)


def rows(task: Task, engine: Engine, **arguments: Any) -> pa.Table:
    return answer_items(
        task, task.items, engine, lambda _: None, arguments.pop("references", None), **arguments
    )


def samples(task: Task, table: pa.Table) -> TaskSamples:
    return TaskSamples(task.name, task.metric, table, task.facets)


def test_repeats_are_rows_of_one_item_each_from_its_own_seed(tmp_path: Path, tiny: Engine) -> None:
    task = writing(tmp_path, repeats=3, temperature=1.5)
    table = rows(task, tiny)
    assert table.column("repeat").to_pylist() == [0, 1, 2] * 24
    assert table.column("item_id").to_pylist() == [item.item_id for item in task.items for _ in range(3)]
    outputs = table.column("output").to_pylist()
    assert len(set(outputs)) > 24
    assert len(set(table.column("prompt_hash").to_pylist())) == 24
    # the same again, whatever else is asked at the same time
    assert rows(task, tiny).equals(table)
    few = answer_items(task, task.items[5:7], tiny, lambda _: None, None)
    assert few.column("output").to_pylist() == outputs[15:21]


def test_another_seed_draws_other_texts_and_is_another_task(tmp_path: Path, tiny: Engine) -> None:
    task, again = (writing(tmp_path, repeats=2, temperature=1.5, seed=seed) for seed in (0, 1))
    assert rows(task, tiny).column("output") != rows(again, tiny).column("output")
    assert task.fingerprint != again.fingerprint
    # of greedy answers the seed decides nothing
    assert writing(tmp_path, seed=0).fingerprint == writing(tmp_path, seed=1).fingerprint


def test_questions_with_choices_are_not_repeated(tmp_path: Path) -> None:
    settings = TaskSettings(
        name="animals",
        file="items.jsonl",
        prompt="{{ question }}",
        choices="{{ choices }}",
        answer="{{ gold }}",
    )
    write_tiny_task(tmp_path / "items.jsonl")
    once = build_task(settings, SampleSettings(), tmp_path)
    thrice = build_task(settings, SampleSettings(repeats=3, temperature=1.0), tmp_path)
    assert thrice.repeats == 1
    assert thrice.fingerprint == once.fingerprint


def test_pairing_averages_the_repeats_of_an_item(tmp_path: Path, tiny: Engine, other: Engine) -> None:
    task = writing(tmp_path, repeats=4, temperature=1.0)
    tables = [rows(task, engine) for engine in (tiny, other)]
    sides = [
        ModelSamples(name, {"say": samples(task, table)}) for name, table in zip("ab", tables, strict=True)
    ]
    (paired,) = pair(*sides).tasks
    assert paired.n == 24
    means = np.asarray(tables[0].column("score").to_pylist()).reshape(24, 4).mean(axis=1)
    assert paired.baseline_score.tolist() == means.tolist()


def test_seeds_differ_by_item_and_repeat_and_fit_every_engine() -> None:
    seeds = {draw_seed(0, item, repeat) for item in ("a", "b", "c") for repeat in range(100)}
    assert len(seeds) == 300
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert draw_seed(0, "a", 1) == 552346562  # a stored set must stay reproducible


@pytest.mark.parametrize(("top", "kept"), [(128, 128), (5, 5), ("whole", 384)])
def test_so_many_tokens_of_the_distribution_are_kept(
    tmp_path: Path, tiny: Engine, other: Engine, top: Any, kept: int
) -> None:
    task = choosing(tmp_path)
    table = rows(task, tiny, top_tokens=top)
    assert {len(one) for one in table.column("top_tokens").to_pylist()} == {kept}
    tails = table.column("tail_mass").to_pylist()
    assert max(tails) < 1e-3 if top == "whole" else min(tails) > 0
    references = stored_references(samples(task, table))
    assert len(references) == 24
    one = references[task.items[3].item_id]
    assert list(one.tokens) == table.column("top_tokens")[3].as_py()
    compared = rows(task, other, references=references)
    divergences = compared.column("kl").to_pylist()
    assert min(divergences) > 0
    itself = rows(task, tiny, references=references)
    assert max(itself.column("kl").to_pylist()) < 1e-3
    assert set(itself.column("same_top").to_pylist()) == {True}
    assert compared.column("top_tokens").null_count == 24


def test_the_first_token_of_texts_is_measured_like_that_of_choices(
    tmp_path: Path, tiny: Engine, other: Engine
) -> None:
    task = writing(tmp_path, repeats=2, temperature=1.0)
    table = rows(task, tiny)
    kept = table.filter(pc.equal(table.column("repeat"), 0))
    assert {len(one) for one in kept.column("top_tokens").to_pylist()} == {128}
    assert table.column("tail_mass").null_count == 24  # the others are draws from the same distribution
    references = stored_references(samples(task, table))
    compared, itself = (rows(task, engine, references=references) for engine in (other, tiny))
    measured = replace(samples(task, compared), reference="a's")
    sides = [
        ModelSamples("a", {"say": samples(task, table)}, {"fingerprint": "a's"}),
        ModelSamples("b", {"say": measured}),
    ]
    (paired,) = pair(*sides).tasks
    assert paired.divergences is not None
    assert paired.divergences.shape == (24,)
    assert paired.divergences.min() > 0
    assert max(filter(None, itself.column("kl").to_pylist()), default=0.0) < 1e-3


def test_a_narrower_distribution_gives_a_smaller_divergence(
    tmp_path: Path, tiny: Engine, other: Engine
) -> None:
    task = choosing(tmp_path)
    found = []
    for top in (4, 64, "whole"):
        references = stored_references(samples(task, rows(task, tiny, top_tokens=top)))
        found.append(np.asarray(rows(task, other, references=references).column("kl").to_pylist()))
    assert (found[0] <= found[1] + 1e-4).all()
    assert (found[1] <= found[2] + 1e-4).all()


def test_no_distribution_is_kept_where_none_is_wanted(tmp_path: Path, tiny: Engine) -> None:
    task = choosing(tmp_path)
    table = rows(task, tiny, top_tokens=0)
    assert table.column("tail_mass").null_count == 24
    assert len(stored_references(samples(task, table))) == 0


def test_no_items_are_no_rows(tmp_path: Path, tiny: Engine) -> None:
    table = answer_items(choosing(tmp_path), (), tiny, lambda _: None, None)
    assert table.schema == SAMPLE_SCHEMA
    assert table.num_rows == 0


def test_progress_counts_items_not_requests(tmp_path: Path, tiny: Engine) -> None:
    task = writing(tmp_path, repeats=3, temperature=1.0)
    steps: list[int] = []
    answer_items(task, task.items, tiny, steps.append, None)
    assert sum(steps) == 24
    assert all(step > 0 for step in steps)


def parquet_bytes(table: pa.Table, columns: Sequence[str]) -> int:
    sink = io.BytesIO()
    pq.write_table(table.select(columns), sink, compression="zstd")
    return len(sink.getvalue())


def test_a_distribution_of_128_tokens_takes_less_than_2_kilobytes_of_parquet() -> None:
    """The worst case: ids drawn evenly from a vocabulary of 150,000 cannot be compressed."""
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
    assert 500 < size < 900  # bytes an item; the limit is 2,048
