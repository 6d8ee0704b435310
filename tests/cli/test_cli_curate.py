"""`gate curate`: its list of items makes a smaller suite, and the report counts what was left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_gate
from support.tiny import TINY_TASK, write_gate_yml, write_tiny_model, write_tiny_task, write_tiny_text_task

VERDICTS = (0, 1, 3)  # tiny models may be at chance, where no verdict but FAIL is given


def curate(config: Path, *arguments: object) -> None:
    out = config.parent / "curated"
    code, _, err = run_gate("curate", "-c", config, "-o", out, *arguments, "-q")
    assert code == 0, err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A project with a curated list of its task's 60 items."""
    folder = tmp_path_factory.mktemp("curate")
    (folder / "base").symlink_to(tiny_model)
    write_tiny_model(folder / "other", seed=5)
    write_tiny_model(folder / "third", seed=6)
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
    assert run_gate("run", "-c", config, "-q").code in VERDICTS
    result: dict[str, Any] = json.loads((folder / "gate-result.json").read_text())
    assert result["tasks"][0]["n"] == kept
    selected = f"{kept} of 60 items, selected by the baseline with 4 answers per item"
    assert any(selected in note for note in result["notes"])
    assert "always wrong" in (folder / "gate-report.md").read_text()


def test_an_item_counts_only_if_the_candidate_selects_it_too(folder: Path) -> None:
    kept = len(json.loads((folder / "curated" / "animals.json").read_text())["kept"])
    config = write_gate_yml(folder, "base", "other", tasks=[{**TINY_TASK, "items": "curated/animals.json"}])
    assert run_gate("run", "-c", config, "-q").code in VERDICTS
    result: dict[str, Any] = json.loads((folder / "gate-result.json").read_text())
    (task,) = result["tasks"]
    assert 0 < task["n"] < kept
    assert any(f"{kept - task['n']} of {kept} curated items do not count" in note for note in result["notes"])


def test_a_list_of_the_old_rule_is_refused(folder: Path) -> None:
    curated = json.loads((folder / "curated" / "animals.json").read_text())
    (folder / "curated" / "old.json").write_text(json.dumps({**curated, "schema_version": 1}))
    tasks = [{**TINY_TASK, "items": "curated/old.json"}]
    code, _, err = run_gate("run", "-c", write_gate_yml(folder, "base", "base", tasks=tasks))
    assert code == 2
    assert "made by an older quantgate" in err
    assert "biased" in err


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


def test_generated_texts_are_selected_by_a_third_model(folder: Path) -> None:
    task = write_tiny_text_task(folder, 60)
    config = write_gate_yml(folder, "base", "base", tasks=[task])
    code, _, err = run_gate("curate", "-c", config, "-o", folder / "curated")
    assert code == 2
    assert "without bias" in err
    curate(config, "--runs", 8, "--temperature", 3, "--by", folder / "third")
    curated = json.loads((folder / "curated" / "texts.json").read_text())
    assert (curated["total"], curated["by"]) == (60, "other")
    assert 0 < len(curated["kept"]) <= 60
    tasks = [{**task, "items": "curated/texts.json"}]
    assert run_gate("run", "-c", write_gate_yml(folder, "base", "other", tasks=tasks), "-q").code in VERDICTS


@pytest.mark.parametrize(
    ("baseline", "candidate", "side"), [("base", "third", "candidate"), ("third", "base", "baseline")]
)
def test_the_selecting_model_is_not_compared(folder: Path, baseline: str, candidate: str, side: str) -> None:
    config = write_gate_yml(folder, "base", "base")
    by_third = ("--runs", 4, "--temperature", 4, "--by", folder / "third")
    assert run_gate("curate", "-c", config, "-o", folder / "by-third", *by_third, "-q").code == 0
    tasks = [{**TINY_TASK, "items": "by-third/animals.json"}]
    code, _, err = run_gate("run", "-c", write_gate_yml(folder, baseline, candidate, tasks=tasks))
    assert code == 2
    assert f"selected by the {side}'s own answers" in err


def test_the_baseline_is_not_a_third_model(folder: Path) -> None:
    code, _, err = run_gate("curate", "-c", write_gate_yml(folder, "base", "base"), "-o", folder / "x", "--by", "base")
    assert code == 2
    assert "has the weights of the baseline" in err


def test_an_unknown_task_is_named(folder: Path) -> None:
    config = write_gate_yml(folder, "base", "base")
    code, _, err = run_gate("curate", "-c", config, "-o", folder / "other", "--task", "choises")
    assert code == 2
    assert "no such task" in err
