"""`gate curate`: its list of items makes a smaller suite, and the report counts what was left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_gate
from support.tiny import TINY_TASK, write_gate_yml, write_tiny_task, write_tiny_text_task


def curate(config: Path, *arguments: object) -> None:
    out = config.parent / "curated"
    code, _, err = run_gate("curate", "-c", config, "-o", out, *arguments, "-q")
    assert code == 0, err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A project with a curated list of its task's 60 items."""
    folder = tmp_path_factory.mktemp("curate")
    (folder / "base").symlink_to(tiny_model)
    write_tiny_task(folder / "items.jsonl", 60)
    curate(write_gate_yml(folder, "base", "base"), "--runs", 4, "--temperature", 4)
    return folder


def test_the_counts_of_the_list_add_up(folder: Path) -> None:
    curated = json.loads((folder / "curated" / "animals.json").read_text())
    assert curated["total"] == 60
    assert len(curated["kept"]) + curated["always_right"] + curated["always_wrong"] == 60
    assert 0 < len(curated["kept"]) < 60
    assert (curated["runs"], curated["temperature"]) == (4, 4.0)


def test_a_run_evaluates_the_kept_items_and_reports_the_dropped_ones(folder: Path) -> None:
    kept = len(json.loads((folder / "curated" / "animals.json").read_text())["kept"])
    config = write_gate_yml(folder, "base", "base", tasks=[{**TINY_TASK, "items": "curated/animals.json"}])
    assert run_gate("run", "-c", config, "-q").code == 0
    result: dict[str, Any] = json.loads((folder / "gate-result.json").read_text())
    assert result["tasks"][0]["n"] == kept
    assert any(f"{kept} of 60 items, chosen by the baseline in 4 runs" in note for note in result["notes"])
    assert "always wrong" in (folder / "gate-report.md").read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt": "{{ question }}"}, "have changed since"),
        ({"items": "missing.json"}, "does not exist"),
        ({"items": "items.jsonl"}, "is not a list of items"),
    ],
)
def test_a_list_of_another_task_is_refused(folder: Path, settings: dict[str, Any], message: str) -> None:
    tasks = [{**TINY_TASK, "items": "curated/animals.json", **settings}]
    code, _, err = run_gate("run", "-c", write_gate_yml(folder, "base", "base", tasks=tasks))
    assert code == 2
    assert message in err


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (["a", "b", "c", "d"], "names 4 items that the task does not have: a, b, c ..."),
        (["a"], "names 1 item that the task does not have: a."),
        ([], "keeps no items."),
    ],
)
def test_a_list_that_fits_no_items_is_refused(folder: Path, kept: list[str], message: str) -> None:
    curated = json.loads((folder / "curated" / "animals.json").read_text())
    (folder / "curated" / "other.json").write_text(json.dumps({**curated, "kept": kept}))
    tasks = [{**TINY_TASK, "items": "curated/other.json"}]
    code, _, err = run_gate("run", "-c", write_gate_yml(folder, "base", "base", tasks=tasks))
    assert code == 2
    assert message in err


def test_a_generation_task_is_curated_from_sampled_texts(folder: Path) -> None:
    task = write_tiny_text_task(folder, 60)
    curate(write_gate_yml(folder, "base", "base", tasks=[task]), "--runs", 8, "--temperature", 3)
    curated = json.loads((folder / "curated" / "texts.json").read_text())
    assert curated["total"] == 60
    assert 0 < len(curated["kept"]) <= 60
    config = write_gate_yml(folder, "base", "base", tasks=[{**task, "items": "curated/texts.json"}])
    assert run_gate("run", "-c", config, "-q").code == 0


def test_an_unknown_task_is_named(folder: Path) -> None:
    config = write_gate_yml(folder, "base", "base")
    code, _, err = run_gate("curate", "-c", config, "-o", folder / "other", "--task", "choises")
    assert code == 2
    assert "no such task" in err
