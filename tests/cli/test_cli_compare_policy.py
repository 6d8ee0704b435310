"""`gate compare --config` and `gate.compare(config=...)`: the policy of a gate.yml, applied to files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.commands import run_gate
from test_cli_files import write_csv

import gate
from gate.errors import ConfigError

SCORES = {"arc": ([1] * 150 + [0] * 50, [0] * 14 + [1] * 136 + [0] * 46 + [1] * 4), "faq": ([1, 1, 0, 1] * 50,) * 2}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """One task that drops by 5 points (14 worse, 4 better), one that does not change."""
    return [
        write_csv(tmp_path / f"{name}.csv", {task: scores[side] for task, scores in SCORES.items()})
        for side, name in enumerate(("base", "cand"))
    ]


@pytest.fixture
def config(tmp_path: Path) -> Any:
    def write(tasks: list[Any], **sections: Any) -> Path:
        models = {"baseline": {"model": "org/a"}, "candidate": {"model": "org/b"}}
        path = tmp_path / "gate.yml"
        path.write_text(yaml.safe_dump({"version": 1, **models, "tasks": tasks, **sections}), encoding="utf-8")
        return path

    return write


def compared(files: list[Path], *options: object) -> tuple[int, dict[str, Any]]:
    code, out, _ = run_gate("compare", *files, *options, "--json", "-")
    return code, json.loads(out)


def test_the_decision_and_the_policy_of_each_task_apply(files: list[Path], config: Any) -> None:
    assert compared(files)[0] == 1
    tasks = [{"name": "arc", "margin": 0.04, "min_recovery": 0.9}, {"name": "faq", "certify": 0.05}]
    path = config(tasks, decision={"alpha": 0.02, "rule": "holm"}, samples={"seed": 7})
    code, result = compared(files, "--config", path)
    assert (code, result["verdict"], result["alpha"], result["rule"]) == (0, "PASS", 0.02, "holm")
    arc, faq = result["tasks"]
    assert (arc["margin"], faq["margin"]) == (0.04, 0.0)
    assert [limit["kind"] for limit in arc["limits"]] == ["min_recovery"]
    assert arc["recovery"]["ratio"] == pytest.approx(140 / 150)
    assert faq["certification"]["certified"]
    assert result["provenance"]["seed"] == 7
    assert result["provenance"]["tasks"] == {"arc": {"margin": 0.04, "min_recovery": 0.9}, "faq": {"certify": 0.05}}
    assert f"--config {path}" in result["provenance"]["reproduce"][0]


@pytest.mark.parametrize(
    "name", ["gsm8k|5", "mmlu:subject=anatomy,method=joint", 'mmlu(subject="law")', "../faq", "naïve"]
)
def test_tasks_may_have_the_names_of_other_tools(tmp_path: Path, config: Any, name: str) -> None:
    rows = [{"task": name, "item_id": n, "output": "x", "target": "x"} for n in range(40)]
    files = [tmp_path / "base.jsonl", tmp_path / "cand.jsonl"]
    for file, right in zip(files, (40, 32), strict=True):
        lines = (json.dumps({**row, "correct": int(row["item_id"] < right)}) for row in rows)
        file.write_text("\n".join(lines) + "\n")
    path = config([{"name": name, "max_drop": 0.1}])
    code, result = compared(files, "-c", path)
    assert code == 1
    assert [(task["task"], task["limits"][0]["kind"]) for task in result["tasks"]] == [(name, "max_drop")]
    evaluated = run_gate("run", "-c", path)
    assert evaluated.code == 2
    assert "is not a name in the registry of LM Evaluation Harness" in evaluated.err


def test_roles_and_limits_of_the_file_apply(files: list[Path], config: Any) -> None:
    tasks = [{"name": "arc", "role": "advisory"}, "faq"]
    assert compared(files, "-c", config(tasks))[0] == 0
    code, result = compared(
        files, "-c", config(["arc", "faq"], distance={"max_flip_rate": 0.01}, decision={"margin": 0.1})
    )
    assert code == 1
    assert "4.50% of the answers flipped; the limit is 1.00%." in result["reasons"]


def test_a_limit_of_a_task_fails_its_test_case_and_is_in_every_report(
    files: list[Path], config: Any, tmp_path: Path
) -> None:
    path = config([{"name": "arc", "margin": 0.1, "max_drop": 0.04}, "faq"])
    names = {form: tmp_path / f"report.{form}" for form in ("markdown", "html", "junit")}
    code, out, _ = run_gate(
        "compare", *files, "-c", path, *(x for form, name in names.items() for x in (f"--{form}", name))
    )
    assert code == 1
    found = "observed drop +5.00 points, limit 4 points"
    assert f"arc: {found}." in " ".join(out.split())
    html, junit = (names[form].read_text(encoding="utf-8") for form in ("html", "junit"))
    assert f"arc: margin 10 points; {found} (exceeded)." in html
    assert f'<failure message="arc: {found}. ' in junit
    assert 'type="LimitExceeded"' in junit
    markdown = names["markdown"].read_text(encoding="utf-8")
    assert "**Requirements of single tasks.** Limits are compared with observed values; they are not tests." in markdown
    assert "margin 10 points; observed drop" in markdown
    assert "margin per task" in markdown


def test_an_option_replaces_the_key_of_the_file_even_by_its_default(files: list[Path], config: Any) -> None:
    path = config(["arc", "faq"], decision={"margin": 0.1, "alpha": 0.01})
    assert compared(files, "-c", path)[0] == 0
    code, result = compared(files, "-c", path, "--margin", "0.0", "--alpha", "0.05")
    assert (code, result["margin"], result["alpha"]) == (1, 0.0, 0.05)
    assert result["provenance"]["reproduce"][0].endswith("--alpha 0.05 --margin 0.0")
    assert compared(files, "-c", path, "--margin", "0", "--advisory", "arc")[0] == 0


def test_a_task_that_the_files_lack_is_an_error_unless_it_is_left_out(files: list[Path], config: Any) -> None:
    path = config(["arc", "faq", {"name": "gsm8k", "max_drop": 0.1}])
    code, _, err = run_gate("compare", *files, "-c", path)
    assert code == 2
    assert f"the files lack tasks of {path}: gsm8k; they have: arc, faq." in " ".join(err.split())
    assert "--task" in err
    for options in (["--allow-partial"], ["--task", "arc", "--task", "faq"]):
        code, result = compared(files, "-c", path, *options)
        assert code == 1
        assert [task["task"] for task in result["tasks"]] == ["arc", "faq"]
    code, _, err = run_gate("compare", *files, "-c", config(["gsm8k"]), "--allow-partial")
    assert code == 2


def test_a_task_that_the_file_does_not_name_is_left_out_with_a_note(files: list[Path], config: Any) -> None:
    path = config(["faq"])
    code, result = compared(files, "-c", path)
    assert code == 0
    assert [task["task"] for task in result["tasks"]] == ["faq"]
    assert f"tasks that {path} does not name are left out: arc." in result["notes"]
    code, _, err = run_gate("compare", *files, "-c", path, "--task", "arc")
    assert code == 2
    assert "has no task arc; it has: faq." in " ".join(err.split())


def test_what_needs_a_series_or_an_evaluation_does_not_apply_and_the_report_says_so(
    files: list[Path], config: Any
) -> None:
    path = config(["arc", "faq"], decision={"alpha": 0.04, "alpha_spending": {"kind": "yearly"}})
    _, result = compared(files, "-c", path)
    assert (result["alpha"], result["spending"]) == (0.04, None)
    assert any(
        note.startswith("alpha_spending of ") and note.endswith("comparison is 0.04.") for note in result["notes"]
    )


def test_python_applies_the_same_policy(files: list[Path], config: Any) -> None:
    path = config([{"name": "arc", "margin": 0.1}, "faq"])
    assert gate.compare(*files).verdict == "FAIL"
    assert gate.compare(*files, config=path).verdict == "PASS"
    assert gate.compare(*files, config=path, alpha=0.01).alpha == 0.01
    with pytest.raises(ConfigError, match=r"gate\.yml does not exist"):
        gate.compare(*files, config=path.parent / "nowhere" / "gate.yml")


def test_the_proof_and_the_recovery_of_a_task_are_columns_of_the_data_frame(files: list[Path], config: Any) -> None:
    path = config([{"name": "arc", "min_recovery": 0.9}, {"name": "faq", "certify": 0.05}])
    frame = gate.compare(*files, config=path).to_pandas()
    assert frame.recovery_ratio["arc"] == pytest.approx(140 / 150)
    assert frame.recovery_ci90_low["arc"] < frame.recovery_ratio["arc"] < frame.recovery_ci90_high["arc"]
    assert frame.certification_certified["faq"]
    assert not {"certification", "recovery", "limits"} & set(frame.columns)
    assert "recovery_ratio" not in gate.compare(*files).to_pandas().columns
