"""CSV, JSONL and Parquet files from any tool: what is read, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.importing import message
from support.jsonl import write_jsonl

from gate.common.canonical import text_digest
from gate.importers import read_foreign
from gate.samples.record import SAMPLE_SCHEMA, ModelSamples

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "quantized-llms"
real_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not beside this clone")
COLUMNS = ("task", "item_id", "output", "target", "correct")
ROWS: list[dict[str, Any]] = [
    {"task": "arc", "item_id": "a0", "output": "C", "target": "C", "correct": 1},
    {"task": "csqa", "item_id": "a0", "output": "B", "target": "A", "correct": 0},
    {"task": "arc", "item_id": "a1", "output": "D", "target": "A", "correct": 0},
]
ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".jsonl":
        write_jsonl(path, rows)
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def with_values(**values: list[Any]) -> list[dict[str, Any]]:
    return [{**row, **{name: column[i] for name, column in values.items()}} for i, row in enumerate(ROWS)]


def without(name: str, rows: list[dict[str, Any]] = ROWS) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != name} for row in rows]


def tables(samples: ModelSamples) -> dict[str, list[dict[str, Any]]]:
    return {name: task.table.to_pylist() for name, task in samples.tasks.items()}


@real_data
@pytest.mark.parametrize("path", sorted(DATA.glob("*.csv")), ids=lambda path: path.stem)
def test_the_files_of_quantized_llms_are_read_completely(path: Path) -> None:
    samples = read_foreign(path)
    assert {name: task.table.num_rows for name, task in samples.tasks.items()} == {
        "arc": 1000,
        "mmlu": 975,
        "csqa": 986,
    }
    assert samples.label == path.stem
    with path.open() as handle:
        right = sum(row["correct"] == "1" for row in csv.DictReader(handle))
    assert sum(sum(task.table["correct"].to_pylist()) for task in samples.tasks.values()) == right


@real_data
def test_flips_of_real_runs_equal_the_published_counts() -> None:
    base, quantised = (read_foreign(DATA / f"qwen2.5-1.5b-instruct-{kind}.csv") for kind in ("fp16", "int4"))
    flips = {}
    for name in base.tasks:
        a = {row["item_id"]: row for row in base.tasks[name].table.to_pylist()}
        b = {row["item_id"]: row for row in quantised.tasks[name].table.to_pylist()}
        assert a.keys() == b.keys()
        pairs = [(a[key], b[key]) for key in a]
        flips[name] = (
            sum(x["correct"] and not y["correct"] for x, y in pairs),
            sum(y["correct"] and not x["correct"] for x, y in pairs),
            sum(not x["correct"] and not y["correct"] and x["output"] != y["output"] for x, y in pairs),
        )
    assert flips == {"arc": (68, 18, 25), "csqa": (45, 37, 18), "mmlu": (86, 43, 57)}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_gives_the_same_rows(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"model{ending}", ROWS)
    samples = read_foreign(path)
    assert samples.label == "model"
    assert samples.notes == ()
    assert list(samples.tasks) == ["arc", "csqa"]
    arc = samples.tasks["arc"]
    assert (arc.task, arc.metric, arc.facets) == ("arc", "correct", {})
    assert arc.table.schema.equals(SAMPLE_SCHEMA)
    assert arc.table.select(["item_id", "output", "target", "score", "correct", "repeat"]).to_pylist() == [
        {"item_id": "a0", "output": "C", "target": "C", "score": 1.0, "correct": True, "repeat": 0},
        {"item_id": "a1", "output": "D", "target": "A", "score": 0.0, "correct": False, "repeat": 0},
    ]
    assert arc.table["prompt_hash"].null_count == 2


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("values", [[1, 0, 1], [True, False, True], ["True", "false", "TRUE"], [1.0, 0.0, 1.0]])
def test_correct_may_be_numbers_booleans_or_words(tmp_path: Path, ending: str, values: list[Any]) -> None:
    samples = read_foreign(write(tmp_path / f"m{ending}", with_values(correct=values)))
    assert samples.tasks["arc"].table["correct"].to_pylist() == [True, True]
    assert samples.tasks["csqa"].table["score"].to_pylist() == [0.0]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_task_is_binary_only_if_all_its_scores_are_0_or_1(tmp_path: Path, ending: str) -> None:
    rows = without("correct", with_values(score=[0.25, 1, 1]))
    samples = read_foreign(write(tmp_path / f"m{ending}", rows))
    assert samples.tasks["arc"].metric == "score"
    assert samples.tasks["arc"].table["score"].to_pylist() == [0.25, 1.0]
    assert samples.tasks["arc"].table["correct"].to_pylist() == [None, None]
    assert samples.tasks["csqa"].table["correct"].to_pylist() == [True]


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_item_ids_may_be_integers(tmp_path: Path, ending: str) -> None:
    samples = read_foreign(write(tmp_path / f"m{ending}", with_values(item_id=[7, 8, 9], output=[0, 1, 2])))
    assert samples.tasks["arc"].table["item_id"].to_pylist() == ["7", "9"]
    assert samples.tasks["arc"].table["output"].to_pylist() == ["0", "2"]


def test_csv_text_is_not_converted(tmp_path: Path) -> None:
    rows = with_values(item_id=["007", "1e3", "NA"], output=["", "null", 'a,"b"\nc'])
    samples = read_foreign(write(tmp_path / "m.csv", rows))
    assert tables(samples)["arc"][0]["item_id"] == "007"
    assert [row["output"] for row in tables(samples)["arc"]] == ["", 'a,"b"\nc']
    assert tables(samples)["csqa"][0]["output"] == "null"


def test_a_csv_with_byte_order_mark_and_crlf_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(b"\xef\xbb\xbf" + b"task,item_id,output,target,correct\r\narc,1,A,B,0\r\n")
    assert tables(read_foreign(path))["arc"][0]["item_id"] == "1"


def test_a_json_column_may_mix_text_and_numbers(tmp_path: Path) -> None:
    rows = with_values(item_id=["a", 1, 2], output=["A", None, 3], correct=[True, 0, "True"])
    by_task = tables(read_foreign(write(tmp_path / "m.jsonl", rows)))
    assert [(row["item_id"], row["output"], row["correct"]) for row in by_task["arc"]] == [
        ("a", "A", True),
        ("2", "3", True),
    ]
    assert by_task["csqa"][0]["output"] is None


def test_optional_columns_are_kept(tmp_path: Path) -> None:
    rows = with_values(
        repeat=[0, 1, 2], cluster=["p", "q", "p"], prompt=["Why?", "How?", "Why?"], extra=[[1], [2], [3]]
    )
    for ending in (".jsonl", ".parquet"):
        arc = tables(read_foreign(write(tmp_path / f"m{ending}", rows)))["arc"]
        assert [row["repeat"] for row in arc] == [0, 2]
        assert [row["cluster"] for row in arc] == ["p", "p"]
        assert [row["prompt_hash"] for row in arc] == [text_digest("Why?")] * 2
        assert arc[0]["prompt"] == "Why?"


def test_the_default_metric_is_read_with_a_note_unless_one_is_chosen(tmp_path: Path) -> None:
    rows = [{**row, "metric": name} for row in without("correct", ROWS) for name in ("acc", "acc_norm")]
    rows = [{**row, "score": 1.0 if row["metric"] == "acc" else 0.5} for row in rows]
    path = write(tmp_path / "m.parquet", rows)
    samples = read_foreign(path)
    assert samples.tasks["arc"].metric == "acc"
    assert samples.tasks["arc"].table["score"].to_pylist() == [1.0, 1.0]
    assert "acc_norm" in samples.notes[0]
    wanted = read_foreign(path, metric="acc_norm")
    assert wanted.tasks["arc"].table["score"].to_pylist() == [0.5, 0.5]
    assert wanted.notes == ()
    assert "no task has the metric 'bleu'" in message(path, metric="bleu").lower()


def test_several_metrics_without_a_default_are_refused(tmp_path: Path) -> None:
    rows = [{**row, "metric": name} for row in ROWS for name in ("wit", "charm")]
    text = message(write(tmp_path / "m.csv", rows))
    assert "task arc: has 2 metrics: charm, wit" in text
    assert "--metric" in text


def test_correct_is_read_before_score_with_a_note(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", with_values(score=[0.9, 0.1, 0.2]))
    assert "both correct and score" in read_foreign(path).notes[0]
    assert tables(read_foreign(path, metric="score"))["arc"][0]["score"] == 0.9


def test_a_folder_is_read_as_one_model(tmp_path: Path) -> None:
    write(tmp_path / "arc.csv", [ROWS[0], ROWS[2]])
    write(tmp_path / "csqa.parquet", [ROWS[1]])
    samples = read_foreign(tmp_path)
    assert samples.label == tmp_path.name
    assert {name: task.table.num_rows for name, task in samples.tasks.items()} == {"arc": 2, "csqa": 1}
    files = samples.about["files"]
    assert isinstance(files, list)
    assert [entry["name"] for entry in files] == ["arc.csv", "csqa.parquet"]


def test_duplicate_items_are_kept(tmp_path: Path) -> None:
    samples = read_foreign(write(tmp_path / "m.csv", [*ROWS, ROWS[0]]))
    assert samples.tasks["arc"].table["item_id"].to_pylist().count("a0") == 2


@pytest.mark.parametrize("ending", ENDINGS)
def test_unscored_rows_are_counted_and_named(tmp_path: Path, ending: str) -> None:
    text = message(write(tmp_path / f"m{ending}", with_values(correct=[1, None, None])))
    assert "2 of 3 samples have no score" in text
    assert f"csqa/a0 (m{ending}, row 2), arc/a1 (m{ending}, row 3)" in text


@pytest.mark.parametrize("ending", ENDINGS)
def test_nan_and_infinite_scores_are_refused(tmp_path: Path, ending: str) -> None:
    rows = without("correct", with_values(score=[0.5, float("nan"), 1.0]))
    assert "1 of 3 samples have no score" in message(write(tmp_path / f"m{ending}", rows))
    rows = without("correct", with_values(score=[0.5, float("inf"), 1.0]))
    assert "infinite" in message(write(tmp_path / f"n{ending}", rows))


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_error_lists_missing_and_available_columns(tmp_path: Path, ending: str) -> None:
    text = message(write(tmp_path / f"m{ending}", without("target", without("correct"))))
    assert "missing columns target, correct (or score)" in text
    assert "Found: task, item_id, output" in text


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_graded_correct_and_a_text_score_are_refused(tmp_path: Path, ending: str) -> None:
    assert "neither 0 nor 1 in 1 of 3" in message(write(tmp_path / f"m{ending}", with_values(correct=[1, 0.5, 0])))
    text = message(write(tmp_path / f"n{ending}", without("correct", with_values(score=["1", "good", "0"]))))
    assert "not numbers, e.g. 'good'" in text


def test_rows_without_an_item_id_are_refused(tmp_path: Path) -> None:
    assert "1 rows have no item_id, the first: 2" in message(
        write(tmp_path / "m.csv", with_values(item_id=["a", "", "c"]))
    )
    for ending in (".jsonl", ".parquet"):  # a number in JSON, a float in Parquet
        path = write(tmp_path / f"m{ending}", with_values(item_id=[1.0, float("nan"), 3.0]))
        assert "1 rows have no item_id, the first: 2" in message(path)


@pytest.mark.parametrize("repeat", [-1, 0.5, None, 2**40])
def test_invalid_repeats_are_refused(tmp_path: Path, repeat: Any) -> None:
    for ending in (".csv", ".jsonl", ".parquet"):
        rows = with_values(repeat=[repeat, 1.0, 2.0])
        assert "repeat is not a non-negative integer in 1 of 3 rows" in message(write(tmp_path / f"m{ending}", rows))


def test_a_text_column_with_lists_is_refused(tmp_path: Path) -> None:
    for ending in (".jsonl", ".parquet"):
        text = message(write(tmp_path / f"m{ending}", with_values(output=[["a"], ["b"], ["c"]])))
        assert "output" in text
        assert "list" in text


def test_the_error_names_an_invalid_line(tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", ROWS)
    path.write_text(path.read_text() + '{"task": "arc", "item_id"')
    assert f"{path}:4: not valid JSON" in message(path)
    path.write_text("[1, 2]\n")
    assert f"{path}:1: expected a JSON object, found a int" in message(path)


def test_the_error_names_a_short_csv_row(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", ROWS)
    path.write_text(path.read_text() + "arc,a9,C\n")
    assert f"{path}:5: not valid CSV" in message(path)


@pytest.mark.parametrize("ending", [*ENDINGS, ".eval", ".json"])
def test_empty_and_binary_files_are_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"m{ending}"
    path.touch()
    assert "is empty" in message(path)
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    assert str(path) in message(path)
    path.write_bytes(b"\x00" * 300)
    assert str(path) in message(path)


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.parquet", ROWS * 100)
    whole = path.read_bytes()
    for kept in (len(whole) // 2, len(whole) - 1, 10):
        path.write_bytes(whole[:kept])
        assert "not a readable Parquet file" in message(path)


def test_a_header_without_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(",".join(COLUMNS) + "\n")
    assert "holds no rows" in message(path)
    (tmp_path / "m.jsonl").write_text("\n\n")
    assert "holds no rows" in message(tmp_path / "m.jsonl")


def test_paths_without_samples_are_refused(tmp_path: Path) -> None:
    assert "does not exist" in message(tmp_path / "none.csv")
    assert "It is empty." in message(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"x")
    assert "weights.safetensors" in message(tmp_path)
    assert "no importer reads the suffix '.safetensors'" in message(tmp_path / "weights.safetensors")
    result = tmp_path / "result.json"
    result.write_text('{"schema_version": 1, "verdict": "PASS"}')
    assert "gate report" in message(result)


def test_a_quantgate_sample_set_is_not_read_as_foreign(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    write(tmp_path / "shard.parquet", ROWS)
    assert "quantgate sample set" in message(tmp_path)


def test_a_million_rows_are_read(tmp_path: Path) -> None:
    n = 1_000_000
    rng = np.random.default_rng(0)
    letters = pa.array(list("ABCD"))
    path = tmp_path / "m.parquet"
    table = pa.table(
        {
            "task": pa.array([f"t{i}" for i in range(20)]).take(pa.array(np.arange(n) % 20)),
            "item_id": pa.array(np.arange(n)),
            "output": letters.take(pa.array(rng.integers(0, 4, n))),
            "target": letters.take(pa.array(rng.integers(0, 4, n))),
            "correct": rng.integers(0, 2, n),
        }
    )
    pq.write_table(table, path)
    samples = read_foreign(path)
    assert [task.table.num_rows for task in samples.tasks.values()] == [50_000] * 20
    assert samples.tasks["t3"].table["item_id"][1].as_py() == "23"


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).filter(str.strip)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "task": st.sampled_from(["arc", "mmlu", "wörter"]),
                "item_id": names,
                "output": texts,
                "target": texts,
                "score": st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 1.0]),
                "repeat": st.integers(0, 5),
            }
        ),
        min_size=1,
        max_size=20,
    )
)
def test_csv_jsonl_and_parquet_round_trip_to_equal_tables(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    read = [read_foreign(write(tmp_path / f"m{ending}", rows)) for ending in ENDINGS]
    for samples in read[1:]:
        assert tables(samples) == tables(read[0])
    parsed = [(row["item_id"], row["output"], row["score"]) for part in tables(read[0]).values() for row in part]
    assert sorted(parsed) == sorted((row["item_id"], row["output"], row["score"]) for row in rows)
