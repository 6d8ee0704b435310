"""Damaged copies of result files of every format that the importers read, made from a seed."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gate.errors import GateError
from gate.importers import read_foreign
from gate.samples.record import ModelSamples
from support.harness_files import choice_rows
from support.jsonl import write_jsonl
from support.other_tools import WRITERS, samples

VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, -(10**400), 0.5, float("nan"), float("inf"), -float("inf"), 1e308, "", " ",
    "0", "NaN", "x" * 3000, "\ud800", "\x00", "é", "\u202e", [], {}, [[]], [None], [1.0, "a"], {"": None}, {"name": 3},
    [{}], {"a": {"a": {"a": []}}}, "true", "1e999",
]  # fmt: skip
BYTES = [
    b"",
    b"\0",
    b"\xff\xfe",
    b"\n",
    b'"',
    b"{",
    b"]",
    b",",
    b"\xef\xbb\xbf",
    b"NaN",
    b"1e999",
    b"null",
    b"\r",
    b"[" * 2000,
    b"9" * 5000,
]
KEYS = (
    "doc_id",
    "instance_id",
    "sample_score",
    "testIdx",
    "results",
    "testCases",
    "details",
    "task",
    "score",
    "metric",
    "eval",
)


@dataclass(frozen=True)
class Origin:
    """A valid file, and the folder of its run with the files beside it."""

    tool: str
    folder: Path
    file: Path


def origins(folder: Path) -> list[Origin]:
    """Write a small valid run of every format."""
    found = [Origin(tool, folder / tool, write(folder / tool, samples(4, right=3))) for tool, write in WRITERS.items()]
    for tool in ("lighteval", "evalscope", "OpenCompass"):
        where = folder / f"{tool} old"
        found.append(Origin(tool, where, WRITERS[tool](where, samples(4, right=3), old=True)))
    found.append(Origin("promptfoo", folder / "lines", WRITERS["promptfoo"](folder / "lines", samples(4), lines=True)))
    found += [
        _harness(folder / "harness"),
        _nemo(folder / "nemo"),
        *_tables(folder / "tables"),
        _inspect(folder / "inspect"),
    ]
    return found


def mutate(origin: Origin, target: Path, rng: random.Random) -> Path:
    """Write a damaged copy of a run below `target`; return what to read: its file or its folder."""
    copied = {}
    for file in sorted(path for path in origin.folder.rglob("*") if path.is_file()):
        copy = target / file.relative_to(origin.folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
        copied[file] = copy
    beside = [file for file in copied if file != origin.file]
    victim = copied[rng.choice(beside)] if beside and rng.random() < 0.25 else copied[origin.file]
    content = victim.read_bytes()
    changed = _structural(victim, content, rng) if rng.random() < 0.5 else None
    if changed is None:
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            content = _bytes(content, rng)
    victim.write_bytes(content if changed is None else changed)
    return target if rng.random() < 0.4 else copied[origin.file]


def read_or_refuse(path: Path, rng: random.Random) -> str:
    """Read a path; return "read" or "refused". Anything but a valid result or a `GateError` is raised."""
    options: dict[str, Any] = {}
    if rng.random() < 0.3:
        options["allow_partial"] = True
    if rng.random() < 0.2:
        options["metric"] = rng.choice(("score", "success", "acc", "em", "exact_match", "Answer Relevancy"))
    try:
        check(read_foreign(path, **options))
    except GateError:
        return "refused"
    return "read"


def check(read: ModelSamples) -> None:
    """Check what every result of a reader must hold."""
    for name, task in read.tasks.items():
        table = task.table
        assert task.task == name
        assert table.num_rows > 0
        assert np.isfinite(table["score"].to_numpy()).all()
        for column in ("task", "item_id", "metric", "score", "repeat"):
            assert table[column].null_count == 0
        table.validate(full=True)


def _bytes(content: bytes, rng: random.Random) -> bytes:
    position, length = rng.randrange(len(content) + 1), rng.choice((0, 1, 1, 4, 60))
    kind = rng.randrange(5)
    if kind == 0:
        return content[:position]
    if kind == 1:
        return content[:position] + content[position + length :]
    if kind == 2:
        return content[:position] + rng.choice(BYTES) + content[position + length :]
    if kind == 3:
        return content[: position + length] + content[position:]
    flipped = bytearray(content)
    for _ in range(rng.choice((1, 1, 8))):
        if flipped:
            flipped[rng.randrange(len(flipped))] = rng.randrange(256)
    return bytes(flipped)


def _structural(file: Path, content: bytes, rng: random.Random) -> bytes | None:
    """Change values of a valid file so that it stays well-formed; None where its format cannot hold the values."""
    try:
        if file.suffix == ".parquet":
            return _parquet(content, rng)
        if file.suffix == ".csv":
            rows = list(csv.reader(io.StringIO(content.decode())))
            row = rng.choice(rows)
            row[rng.randrange(len(row))] = str(rng.choice(VALUES)).replace("\ud800", "?")
            text = io.StringIO()
            csv.writer(text).writerows(rows)
            return text.getvalue().encode()
        if file.suffix == ".gz":
            lines = gzip.decompress(content).decode().splitlines()
            return gzip.compress(_lines(lines, rng).encode("utf-8", "surrogatepass"), mtime=0)
        if file.suffix == ".jsonl":
            return _lines(content.decode().splitlines(), rng).encode("utf-8", "surrogatepass")
        value = json.loads(content)
        return _dumps(_changed(value, rng), rng).encode("utf-8", "surrogatepass")
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return None


def _lines(lines: list[str], rng: random.Random) -> str:
    number = rng.randrange(len(lines))
    row = _changed(json.loads(lines[number]), rng)
    lines[number] = _dumps(row, rng)
    if rng.random() < 0.1:
        lines.insert(0, lines.pop())
    return "\n".join(lines) + "\n"


def _dumps(value: object, rng: random.Random) -> str:
    return json.dumps(
        value, ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, None, 2)) if isinstance(value, list) else None
    )


def _parquet(content: bytes, rng: random.Random) -> bytes:
    records = pq.read_table(pa.BufferReader(content)).to_pylist()
    name = rng.choice(list(records[0]))
    for record in records if rng.random() < 0.5 else records[:1]:
        _, record[name] = "", _changed(record[name], random.Random(rng.random()))
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), sink)
    return sink.getvalue()


def _changed(value: Any, rng: random.Random) -> Any:
    """Return a JSON value with one node replaced, removed, repeated or renamed."""
    places = list(_places(value))
    if not places or rng.random() < 0.03:
        return rng.choice(VALUES)
    parent, key = rng.choice(places)
    action = rng.randrange(6)
    if action == 0:
        del parent[key]
    elif action == 1 and isinstance(parent, list):
        parent.insert(key, parent[key])
    elif action == 1:
        parent[rng.choice(KEYS)] = parent.pop(key)
    elif action == 2:
        other, place = rng.choice(places)
        try:
            parent[key] = json.loads(json.dumps(other[place]))
        except (KeyError, IndexError, RecursionError):
            parent[key] = None
    elif action == 3 and isinstance(parent[key], list | dict):
        parent[key] = [parent[key]] if rng.random() < 0.5 else {rng.choice(KEYS): parent[key]}
    else:
        parent[key] = rng.choice(VALUES)
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in list(entries):
        yield value, key
        yield from _places(entry)


def _harness(folder: Path) -> Origin:
    folder.mkdir(parents=True)
    return Origin(
        "LM Evaluation Harness",
        folder,
        write_jsonl(folder / "samples_sums_2026-11-21T05-27-34.822721.jsonl", choice_rows()),
    )


def _nemo(folder: Path) -> Origin:
    folder.mkdir(parents=True)
    rows = [
        {"problem_idx": n, "repeat": 0, "reward": 1.0, "expected_answer": "4", "model_response": "4"} for n in range(4)
    ]
    bundle = {"config": {"benchmark": "gsm8k", "model": "m"}, "benchmark": {"name": "gsm8k"}}
    (folder / "eval-1-gsm8k.json").write_text(json.dumps(bundle))
    return Origin("NeMo Evaluator", folder, write_jsonl(folder / "results.jsonl", rows))


def _tables(folder: Path) -> Iterator[Origin]:
    rows = [
        {"task": "t", "item_id": f"q{n}", "output": "a", "target": "a", "score": 1.0, "prompt": "q"} for n in range(4)
    ]
    writers: dict[str, Callable[[Path], object]] = {
        "a.csv": lambda path: path.write_text(
            "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)])
        ),
        "a.jsonl": lambda path: write_jsonl(path, rows),
        "a.json": lambda path: path.write_text(json.dumps(rows)),
        "a.jsonl.gz": lambda path: path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode())),
        "a.parquet": lambda path: pq.write_table(pa.Table.from_pylist(rows), path),
    }
    for name, write in writers.items():
        path = folder / name.replace(".", "-") / name
        path.parent.mkdir(parents=True)
        write(path)
        yield Origin(f"table {path.suffix}", path.parent, path)


def _inspect(folder: Path) -> Origin:
    """Write what Inspect's JSON log holds at least (version 2)."""
    sample = {
        "id": "a", "epoch": 1, "input": "2 + 2?", "target": "4", "messages": [{"role": "user", "content": "2 + 2?"}],
        "output": {"model": "m", "choices": [{"message": {"role": "assistant", "content": "4"}, "stop_reason": "stop"}]},
        "scores": {"match": {"value": "C", "answer": "4"}}, "metadata": {}, "store": {}, "events": [], "attachments": {},
    }  # fmt: skip
    spec = {
        "run_id": "r", "created": "2026-11-21T05:27:34+00:00", "task": "sums", "task_id": "t", "task_version": 0, "eval_id": "e",
        "task_args": {}, "dataset": {"name": "d", "samples": 1}, "model": "m", "model_args": {}, "config": {"epochs": 1},
    }  # fmt: skip
    folder.mkdir(parents=True)
    path = folder / "log.json"
    content = {"version": 2, "status": "success", "eval": spec, "plan": {}, "results": {"total_samples": 2, "completed_samples": 2}, "stats": {},
               "samples": [sample, sample | {"id": "b"}]}  # fmt: skip
    path.write_text(json.dumps(content))
    return Origin("Inspect", folder, path)
