"""`gate run` on tiny real models: the cache, the verdicts, refused input, and what an error keeps."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_gate
from support.tiny import TINY_TASK, edit_gate_yml, use_outputs_as_targets, write_gate_yml, write_tiny_task

from gate.store import open_set


def baseline_manifests(project: Path) -> dict[Path, int]:
    """Return the time of writing of each stored baseline's manifest."""
    paths = (project / ".gate" / "baseline").rglob("manifest.json")
    return {path: path.stat().st_mtime_ns for path in paths}


def write_nan_weights(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][:] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def make_baseline_right(project: Path) -> None:
    """Write 60 items whose targets are the outputs of the model `base`."""
    path = write_tiny_task(project / "items.jsonl", 60)
    assert run_gate("evaluate", "base", "-o", "probe", "-q").code == 0
    use_outputs_as_targets(path, open_set(project / "probe" / "animals").read().table)


def without_costs(text: str) -> str:
    """Cut the terminal's report before the table of speeds, which differ between runs."""
    before, heading, _ = text.partition("Cost")
    assert heading
    return before.rstrip()


def test_the_second_run_takes_the_baseline_from_the_cache(project: Path) -> None:
    code, out, err = run_gate("run")
    assert code == 0
    assert "PASS" in out
    assert "baseline base: evaluating animals" in err
    stored = baseline_manifests(project)
    assert len(stored) == 1

    code, second_out, err = run_gate("run")
    assert code == 0
    assert "baseline base: 1 task(s) from the cache (oldest: 20" in err
    assert "baseline base: evaluating" not in err
    assert "candidate other: evaluating animals" in err
    assert baseline_manifests(project) == stored
    assert without_costs(second_out) == without_costs(out)

    code, _, err = run_gate("run", "--force-baseline")
    assert code == 0
    assert "baseline base: evaluating animals" in err
    forced = baseline_manifests(project)
    assert forced.keys() == stored.keys()
    assert all(forced[path] > stored[path] for path in stored)


def test_a_run_writes_the_reports_that_gate_yml_names(project: Path) -> None:
    _, out, err = run_gate("run")
    result = json.loads((project / "gate-result.json").read_text())
    assert result["verdict"] == "PASS"
    assert result["provenance"]["reproduce"] == ["gate run --config gate.yml"]
    assert result["provenance"]["seconds"] > 0
    assert (project / "gate-report.md").read_text().startswith("## ✅ quantgate: PASS")
    assert "wrote gate-report.md" in err
    assert run_gate("report", "gate-result.json")[1] == out
    for name in ("gate-report.md", "gate-result.json"):
        (project / name).unlink()
    write_gate_yml(project, "base", "other", report={"markdown": None, "json": None})
    assert run_gate("run", "--quiet")[2] == ""
    assert not (project / "gate-report.md").exists()
    assert not (project / "gate-result.json").exists()


def test_with_json_on_standard_output_nothing_else_is_printed_there(project: Path) -> None:
    code, out, err = run_gate("run", "--json", "-")
    written = json.loads((project / "gate-result.json").read_text())
    assert (code, json.loads(out)) == (written["exit_code"], written)
    assert "wrote gate-result.json" in err
    _, table, _ = run_gate("run", "--json", "other.json")
    assert "PASS" in table
    assert json.loads((project / "other.json").read_text())["verdict"] == "PASS"


def test_weights_changed_in_place_miss_the_cache(project: Path) -> None:
    run_gate("baseline")
    first = baseline_manifests(project)
    shutil.copy(project / "other" / "model.safetensors", project / "base" / "model.safetensors")
    code, _, err = run_gate("run")
    assert code == 0
    assert "baseline base: evaluating animals" in err
    assert len(baseline_manifests(project)) == 2
    assert first.items() <= baseline_manifests(project).items()
    assert json.loads((project / "gate-result.json").read_text())["tasks"][0]["all_flip_rate"] == 0.0


def test_changed_items_miss_the_cache(project: Path) -> None:
    run_gate("baseline")
    write_tiny_task(project / "items.jsonl", 25)
    _, _, err = run_gate("baseline")
    assert "evaluating animals" in err
    assert len(baseline_manifests(project)) == 2


def test_samples_of_a_candidate_are_never_used_as_a_baseline(project: Path) -> None:
    run_gate("run")
    write_gate_yml(project, "other", "base")
    assert "baseline other: evaluating animals" in run_gate("run")[2]


def test_the_baseline_command_prints_its_sets_and_reuses_them(project: Path) -> None:
    code, out, _ = run_gate("baseline", "--quiet")
    assert code == 0
    (folder,) = map(Path, out.splitlines())
    assert open_set(folder).manifest.items == 24
    stamp = (folder / "manifest.json").stat().st_mtime_ns
    assert run_gate("baseline", "--quiet") == (0, out, "")
    assert (folder / "manifest.json").stat().st_mtime_ns == stamp
    run_gate("baseline", "--force")
    assert (folder / "manifest.json").stat().st_mtime_ns > stamp


def test_a_damaged_candidate_fails_and_equal_weights_in_other_batches_pass(project: Path) -> None:
    make_baseline_right(project)
    code, out, _ = run_gate("run")
    result = json.loads((project / "gate-result.json").read_text())
    assert code == 1
    assert "FAIL" in out
    assert result["tasks"][0]["baseline"] == 1.0
    assert result["tasks"][0]["regressions"] > 10
    assert result["flips"][0]["shift"] > 0
    other_batches = {"model": "base", "engine": {"max_batch_tokens": 64}}
    edit_gate_yml(project, candidate=other_batches)
    assert run_gate("run")[0] == 0
    task = json.loads((project / "gate-result.json").read_text())["tasks"][0]
    assert (task["regressions"], task["improvements"]) == (0, 0)


def test_an_inconclusive_result_exits_with_3_if_the_policy_blocks(project: Path) -> None:
    write_gate_yml(project, "base", "other", decision={"certify": 0.01, "on_inconclusive": "fail"})
    code, out, _ = run_gate("run")
    assert code == 3
    assert "INCONCLUSIVE" in out


def test_evaluate_and_compare_give_the_same_result_as_run(project: Path) -> None:
    make_baseline_right(project)
    run = run_gate("run")
    assert run_gate("evaluate", "base", "-o", "sets/base")[0] == 0
    code, out, _ = run_gate("evaluate", "-o", "sets/other")
    assert (code, out) == (0, "sets/other/animals\n")
    compared = run_gate("compare", "sets/base", "sets/other", "--json", "compared.json")

    def table(text: str) -> list[list[str]]:
        """Return the cells of the first table up to Holm's p-value: stored samples have no KL divergence."""
        rows = re.findall(r"^[│┃].*$", re.split(r"\n *(?:KL divergence|Cost) *\n", text)[0], re.MULTILINE)
        return [re.split("[│┃]", line)[1:9] for line in rows]

    assert compared[0] == run[0] == 1
    assert table(compared[1]) == table(run[1])
    assert len(table(run[1])) == 2
    results = [json.loads((project / name).read_text()) for name in ("compared.json", "gate-result.json")]
    for data in results:
        data["tasks"] = [
            {k: v for k, v in task.items() if not k.startswith(("kl_", "same_", "behaviour"))} for task in data["tasks"]
        ]
    for key in ("verdict", "p_value", "reasons", "tasks", "aggregate", "flips", "sensitivity"):
        assert results[0][key] == results[1][key]


def test_options_of_evaluate_reach_the_model(project: Path) -> None:
    shutil.copytree(project / "other", project / "bare")
    for file in (project / "bare").glob("*token*"):
        file.unlink()
    options = ["--dtype", "bfloat16", "--tokenizer", "baseline"]
    code, _, _ = run_gate("evaluate", "bare", "-o", "sets", *options)
    assert code == 0
    model = open_set(project / "sets" / "animals").manifest.model
    assert (model.dtype, model.loaded_dtype, model.name) == ("bfloat16", "bfloat16", str(project / "bare"))


def test_evaluate_never_replaces_a_folder_that_is_not_a_sample_set(project: Path) -> None:
    (project / "animals").mkdir()
    (project / "animals" / "photo.jpg").write_text("mine")
    code, _, err = run_gate("evaluate", "-o", ".")
    assert code == 2
    assert "animals is not a sample set" in err
    assert (project / "animals" / "photo.jpg").read_text() == "mine"


def test_a_candidate_with_another_tokenizer_exits_with_2(project: Path) -> None:
    path = project / "other" / "tokenizer.json"
    data: dict[str, Any] = json.loads(path.read_text())
    vocabulary = data["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    path.write_text(json.dumps(data))
    code, out, err = run_gate("run")
    assert code == 2
    assert "tokenizer is not the baseline's" in err
    assert "candidate.tokenizer: baseline" in err
    assert out == ""
    edit_gate_yml(project, candidate={"model": "other", "tokenizer": "baseline"})
    assert run_gate("run")[0] == 0


def test_a_candidate_without_a_tokenizer_uses_the_baselines(project: Path) -> None:
    complete = run_gate("run")
    for file in (project / "other").glob("*token*"):
        file.unlink()
    bare = run_gate("run")
    assert bare.code == complete.code
    assert without_costs(bare.out) == without_costs(complete.out)


def test_nan_weights_exit_with_4_name_the_task_and_change_no_file(project: Path) -> None:
    run_gate("run")
    before = {path: path.read_bytes() for path in stored_files(project)}
    result = (project / "gate-result.json").read_bytes()
    write_nan_weights(project / "other")
    code, out, err = run_gate("run")
    assert code == 4
    assert "task animals" in err
    assert "not finite numbers" in err
    assert out == ""
    assert (project / "gate-result.json").read_bytes() == result
    assert {path: path.read_bytes() for path in stored_files(project)} == before


def stored_files(project: Path) -> list[Path]:
    """Return all files of the store except locks and the marker of a running evaluation."""
    return [
        path for path in (project / ".gate").rglob("*") if path.is_file() and path.suffix not in (".lock", ".running")
    ]


def test_a_damaged_baseline_set_is_refused_before_the_candidate_is_evaluated(project: Path) -> None:
    run_gate("baseline")
    (data_file,) = (project / ".gate").rglob("*.parquet")
    data_file.write_bytes(data_file.read_bytes()[:-1])
    code, _, err = run_gate("run")
    assert code == 2
    assert data_file.name in err
    assert "gate baseline --force" in err
    assert "candidate other: evaluating" not in err
    assert run_gate("run", "--force-baseline")[0] == 0


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"candidate": {"model": "./missing"}}, "does not exist"),
        ({"tasks": []}, "tasks"),
        ({"taks": []}, "did you mean tasks?"),
    ],
)
def test_an_invalid_gate_yml_exits_with_2_before_anything_is_evaluated(
    project: Path, sections: dict[str, Any], message: str
) -> None:
    edit_gate_yml(project, **sections)
    code, out, err = run_gate("run")
    assert code == 2
    assert message in err
    assert out == ""
    assert not (project / ".gate").exists()


def test_a_store_of_another_version_exits_with_2(project: Path) -> None:
    (project / ".gate").mkdir()
    (project / ".gate" / "store.json").write_text('{"schema_version": 99}')
    code, _, err = run_gate("run")
    assert code == 2
    assert "schema version 99" in err


def test_an_advisory_task_does_not_fail_the_run(project: Path) -> None:
    make_baseline_right(project)
    shutil.copy(project / "items.jsonl", project / "hard.jsonl")
    write_tiny_task(project / "easy.jsonl", 18)
    tasks = [
        {**TINY_TASK, "name": "hard", "file": "hard.jsonl", "role": "advisory"},
        {**TINY_TASK, "name": "easy", "file": "easy.jsonl"},
    ]
    write_gate_yml(project, "base", "other", tasks=tasks)
    code, out, _ = run_gate("run")
    assert code == 0
    assert "hard (advisory)" in out


def test_a_quoted_model_name_is_not_a_workflow_command(project: Path) -> None:
    name = "odd\n::error::pwned"
    (project / "base").rename(project / name)
    write_gate_yml(project, f"./{name}", "other")
    code, out, err = run_gate("run")
    assert code == 0
    assert "pwned" in err
    assert not any(line.strip().startswith("::") for line in (out + err).splitlines())
