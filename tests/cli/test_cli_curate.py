"""`gate curate`: the list that it writes makes a smaller suite, and the report counts what was left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny import write_gate_yml, write_tiny_model, write_tiny_task

from gate.cli.main import main


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def gate(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(words))
    return int(left.value.code or 0)


CHOICES = {
    "name": "choices",
    "file": "items.jsonl",
    "prompt": "Q: {{ question }}\nA:",
    "choices": "{{ choices }}",
    "answer": "{{ gold }}",
}
TEXTS = {
    "name": "texts",
    "file": "items.jsonl",
    "kind": "generate_until",
    "prompt": "{{ question }}",
    "answer": "{{ choices[0] }}",
    "max_tokens": 2,
    "extract": "([a-z ])",
    "limit": 12,
}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curate")
    write_tiny_model(folder / "base", seed=0)
    write_tiny_task(folder / "items.jsonl", 60)
    path = write_gate_yml(folder, "base", "base", tasks=[CHOICES])
    assert (
        gate(
            "curate",
            "-c",
            str(path),
            "-o",
            str(folder / "curated"),
            "--runs",
            "4",
            "--temperature",
            "4",
            "-q",
        )
        == 0
    )
    return folder


def test_the_list_adds_up(work: Path) -> None:
    made = json.loads((work / "curated" / "choices.json").read_text())
    assert made["total"] == 60
    assert len(made["kept"]) + made["always_right"] + made["always_wrong"] == 60
    assert 0 < len(made["kept"]) < 60
    assert (made["runs"], made["temperature"]) == (4, 4.0)


def test_a_run_asks_the_kept_items_and_says_what_was_dropped(work: Path) -> None:
    kept = len(json.loads((work / "curated" / "choices.json").read_text())["kept"])
    path = write_gate_yml(work, "base", "base", tasks=[{**CHOICES, "items": "curated/choices.json"}])
    assert gate("run", "-c", str(path), "-q") == 0
    found: dict[str, Any] = json.loads((work / "gate-result.json").read_text())
    assert found["tasks"][0]["n"] == kept
    assert any(f"{kept} of 60 items, chosen by the baseline in 4 runs" in note for note in found["notes"])
    assert "always wrong" in (work / "gate-report.md").read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": "{{ question }}"}, "have changed since"),
        ({"items": "missing.json"}, "does not exist"),
        ({"items": "items.jsonl"}, "is not a list of items"),
    ],
)
def test_a_list_of_another_task_is_refused(
    work: Path, change: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_gate_yml(
        work, "base", "base", tasks=[{**CHOICES, "items": "curated/choices.json", **change}]
    )
    assert gate("run", "-c", str(path)) == 2
    assert said in capsys.readouterr().err


def test_texts_are_generated_several_times(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.loads(line) for line in (work / "items.jsonl").read_text().splitlines()]
    # one letter is right: a random model writes it sometimes
    (work / "letters.jsonl").write_text("".join(json.dumps({**row, "letter": "a"}) + "\n" for row in rows))
    texts = {**TEXTS, "file": "letters.jsonl", "answer": "{{ letter }}", "limit": 60}
    path = write_gate_yml(work, "base", "base", tasks=[texts])
    code = gate(
        "curate", "-c", str(path), "-o", str(work / "curated"), "--runs", "8", "--temperature", "3", "-q"
    )
    assert code == 0, capsys.readouterr().err
    made = json.loads((work / "curated" / "texts.json").read_text())
    assert made["total"] == 60
    assert 0 < len(made["kept"]) <= 60
    path = write_gate_yml(work, "base", "base", tasks=[{**texts, "items": "curated/texts.json"}])
    assert gate("run", "-c", str(path), "-q") == 0


def test_an_unknown_task_is_named(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_gate_yml(work, "base", "base", tasks=[CHOICES])
    assert gate("curate", "-c", str(path), "-o", str(work / "c"), "--task", "choises") == 2
    assert "no such task" in capsys.readouterr().err
