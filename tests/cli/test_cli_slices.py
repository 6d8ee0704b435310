"""Slices of one's own files: in `gate run` by `slices:` of a task, in `gate compare` by --slice."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.commands import run_gate
from support.tiny import TINY_TASK, write_gate_yml, write_tiny_model, write_tiny_task


def rows(right: Any) -> list[dict[str, Any]]:
    return [
        {
            "task": "faq",
            "item_id": n,
            "output": "x",
            "target": "x",
            "correct": right(n),
            "language": "de" if n % 3 == 0 else "en",
            "length": n,
        }
        for n in range(60)
    ]


def write(path: Path, data: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(data), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, data)) + "\n")
    else:
        with path.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, data[0].keys())
            writer.writeheader()
            writer.writerows(data)
    return path


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_compare_reports_the_slices_of_columns_worst_first(tmp_path: Path, suffix: str) -> None:
    base = write(tmp_path / f"base.{suffix}", rows(lambda n: 1))
    cand = write(tmp_path / f"cand.{suffix}", rows(lambda n: int(n % 3 != 0 or n % 2 == 0)))
    out = [tmp_path / name for name in ("r.json", "r.md", "r.html")]
    shown = run_gate(
        "compare", base, cand, "--slice", "language", "--slice", "length",
        "--json", out[0], "--markdown", out[1], "--html", out[2],
    )  # fmt: skip
    assert shown.code == 1, shown.err
    slices = json.loads(out[0].read_text())["slices"]
    assert (slices[0]["name"], slices[0]["value"], slices[0]["n"]) == ("language", "de", 20)
    assert (slices[0]["regressions"], slices[0]["improvements"]) == (10, 0)
    assert slices[0]["p"] == pytest.approx(2**-10)
    assert slices[0]["p_holm"] == pytest.approx(6 * 2**-10)  # six slices: two languages, four quarters
    assert [row["value"] for row in slices if row["name"] == "length"] != []
    assert "language: de" in shown.out
    assert "| <code>language</code>: <code>de</code> | <code>faq</code> | 20 |" in out[1].read_text()
    assert "language: de" in out[2].read_text()
    again = run_gate("report", out[0], "--format", "markdown")
    assert "<code>de</code>" in again.out


def test_a_policy_for_files_names_the_columns(tmp_path: Path) -> None:
    base = write(tmp_path / "base.csv", rows(lambda n: 1))
    cand = write(tmp_path / "cand.csv", rows(lambda n: int(n % 3 != 0)))
    config = write_gate_yml(tmp_path, "base", "cand", tasks=[{"name": "faq", "slices": ["language"]}])
    result = run_gate("compare", base, cand, "-c", config, "--json", "-")
    slices = json.loads(result.out)["slices"]
    assert [(row["name"], row["value"], row["regressions"]) for row in slices] == [
        ("language", "de", 20),
        ("language", "en", 0),
    ]
    chosen = run_gate("compare", base, cand, "-c", config, "--slice", "length", "--json", "-")
    assert {row["name"] for row in json.loads(chosen.out)["slices"]} == {"length"}
    config = write_gate_yml(tmp_path, "base", "cand", tasks=[{"name": "faq", "slices": ["region"]}])
    unknown = run_gate("compare", base, cand, "-c", config)
    assert unknown.code == 1
    assert "its slices are left out: the baseline's file has no column region" in " ".join(unknown.out.split())


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    base = write(tmp_path / "base.csv", rows(lambda n: 1))
    result = run_gate("compare", base, base, "--slice", "lang")
    assert result.code == 2
    assert "no column 'lang'" in result.err


def test_a_slice_that_got_worse_changes_no_verdict(tmp_path: Path) -> None:
    base = write(tmp_path / "base.csv", rows(lambda n: int(n % 3 == 0)))
    cand = write(tmp_path / "cand.csv", rows(lambda n: int(n % 3 == 1)))
    shown = run_gate("compare", base, cand, "--slice", "language", "--json", tmp_path / "r.json")
    result = json.loads((tmp_path / "r.json").read_text())
    assert (shown.code, result["verdict"]) == (0, "PASS")
    assert result["slices"][0]["p_holm"] == pytest.approx(2 * 2**-20)


@pytest.mark.parametrize("column", ["correct", "output"])
def test_columns_with_answers_make_no_slices(tmp_path: Path, column: str) -> None:
    base = write(tmp_path / "base.csv", rows(lambda n: 1))
    result = run_gate("compare", base, base, "--slice", column)
    assert result.code == 2
    assert f"the column '{column}' holds the baseline's answers" in " ".join(result.err.split())
    assert run_gate("compare", base, base, "--slice", "target").code == 0


def test_a_run_reports_the_slices_of_its_documents(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "base").symlink_to(tiny_model)
    write_tiny_model(tmp_path / "other", seed=5)
    write_tiny_task(tmp_path / "items.jsonl", 60)
    lines = [json.loads(line) for line in (tmp_path / "items.jsonl").read_text().splitlines()]
    documents = [{**line, "language": "de" if n < 20 else "en", "length": n} for n, line in enumerate(lines)]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, documents)) + "\n")
    results = []
    for slices in ([], ["language", "length"]):
        task = {**TINY_TASK, **({"slices": slices} if slices else {})}
        config = write_gate_yml(tmp_path, "base", "other", tasks=[task])
        assert run_gate("run", "-c", config, "-q").code in (0, 1, 3)
        results.append(json.loads((tmp_path / "gate-result.json").read_text()))
    plain, sliced = results
    assert plain["slices"] == []
    # slices do not change the task, its cached samples or the verdict
    assert plain["baseline"]["sets"] == sliced["baseline"]["sets"]
    assert plain["p_value"] == sliced["p_value"]
    by_name = {name: [row for row in sliced["slices"] if row["name"] == name] for name in ("language", "length")}
    assert {row["value"]: row["n"] for row in by_name["language"]} == {"de": 20, "en": 40}
    assert [row["n"] for row in by_name["length"]] == [15] * 4
    # the same policy on the sample sets of the run: their items are the documents of the task's file
    folders = [next((tmp_path / ".gate" / role).iterdir()) for role in ("baseline", "candidate")]
    assert run_gate("compare", *folders, "-c", config, "--json", tmp_path / "compared.json", "-q").code in (0, 1, 3)
    assert json.loads((tmp_path / "compared.json").read_text())["slices"] == sliced["slices"]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({**TINY_TASK, "slices": ["lang"]}, "lacks the slice field 'lang'"),
        (
            {"name": "arc_easy", "slices": ["lang"]},
            "task arc_easy: slices are fields of the documents in the task's file",
        ),
    ],
)
def test_slices_need_a_field_of_an_own_file(
    tmp_path: Path, tiny_model: Path, task: dict[str, Any], message: str
) -> None:
    (tmp_path / "base").symlink_to(tiny_model)
    write_tiny_task(tmp_path / "items.jsonl", 6)
    result = run_gate("run", "-c", write_gate_yml(tmp_path, "base", "base", tasks=[task]))
    assert result.code == 2
    assert message in result.err


def test_text_of_slices_is_escaped_in_every_report(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>|`x`\n## y"
    data = [{**row, "language": hostile if row["item_id"] % 2 else "en"} for row in rows(lambda n: 1)]
    worse = [{**row, "correct": int(row["item_id"] % 4 != 1)} for row in data]
    base, cand = write(tmp_path / "base.jsonl", data), write(tmp_path / "cand.jsonl", worse)
    out = [tmp_path / name for name in ("r.md", "r.html")]
    shown = run_gate("compare", base, cand, "--slice", "language", "--markdown", out[0], "--html", out[1])
    assert shown.code == 1
    for text in (shown.out, *(path.read_text() for path in out)):
        assert "alert" in text
        assert "\n## y" not in text
    assert all("<script>alert" not in path.read_text() for path in out)
