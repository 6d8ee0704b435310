"""The A/A control of `gate run` and `gate noise`, on tiny real models whose stacks really differ."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_gate
from support.fake_vllm import NAME, FakeVllm, serve
from support.jsonl import write_jsonl
from support.lossless import permute_channels
from support.tiny import WORDS, edit_gate_yml, use_outputs_as_targets, write_tiny_project

import gate
from gate.config import load_config
from gate.errors import ConfigError
from gate.report.html import render_html
from gate.report.markdown import render_markdown
from gate.report.result import to_json
from gate.store import open_set

ITEMS = 200


class Messages:
    """A reporter that keeps the messages."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)

    def progress(self, description: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        return nullcontext(lambda _: None)

    def result(self, result: gate.Result) -> None: ...

    def candidates(self, result: gate.CandidatesResult) -> None: ...


def write_close_items(path: Path, count: int) -> Path:
    """Write items with ten choices each, so that the best two are often close."""
    generator = random.Random(0)
    words = [word for word in WORDS if word.isalpha()]
    rows = [
        {
            "question": f"Which word is number {number}?",
            "choices": generator.sample(words, 10),
            "gold": 0,
        }
        for number in range(count)
    ]
    return write_jsonl(path, rows)


@pytest.fixture(scope="module")
def lossless_project(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A project with items that the baseline gets right in float32, and a lossless candidate `other`.

    The candidate computes the same function from other weight files.
    """
    folder = tmp_path_factory.mktemp("lossless")
    write_tiny_project(folder, tiny_model, tiny_model)
    items = write_close_items(folder / "items.jsonl", ITEMS)
    permute_channels(folder / "base", folder / "other")
    gate.evaluate(folder / "gate.yml", folder / "base", out=folder / "answers")
    use_outputs_as_targets(items, open_set(folder / "answers" / "animals").read().table)
    for left in (folder / "answers", folder / ".gate"):
        shutil.rmtree(left, ignore_errors=True)
    edit_gate_yml(folder, baseline={"model": "base", "dtype": "bfloat16"})
    edit_gate_yml(folder, candidate={"model": "other", "dtype": "float32"})
    return folder


@pytest.fixture
def lossless(lossless_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the lossless project, as the current folder."""
    folder = tmp_path / "lossless"
    shutil.copytree(lossless_project, folder)
    monkeypatch.chdir(folder)
    return folder


def baseline_folders(project: Path) -> set[str]:
    return {path.name for path in (project / ".gate" / "baseline").iterdir() if not path.name.startswith(".")}


def control_of(result: gate.Result) -> Any:
    assert result.control is not None
    return result.control


def test_a_cache_of_another_dtype_does_not_count_against_a_lossless_candidate(lossless: Path) -> None:
    messages = Messages()
    result = gate.run("gate.yml", reporter=messages)
    control = control_of(result)
    assert control.kind == "stack"
    assert control.differences["dtype"] == ("bfloat16", "float32")
    # A and C are the same function on the same stack
    assert (result.flip_rate, result.baseline["loaded_dtype"]) == (0.0, "float32")
    # B and A are not: the stack alone flips answers
    assert control.floor.flips > 0
    assert control.floor.items == ITEMS
    assert control.floor.kl_mean > 0
    assert control.floor.kl_is_bound  # both runs are stored sets
    assert control.excess.candidate_alone == 0
    assert control.excess.control_alone == 0
    assert not any("stacks differ" in note for note in result.notes)
    assert any("the stacks differ (compute dtype: bfloat16 against float32" in text for text in messages.texts)

    edit_gate_yml(lossless, decision={"control": "never"})
    without = gate.run("gate.yml")
    assert without.control is None
    assert without.flip_rate == control.floor.flip_rate
    assert any("stacks differ (compute dtype: bfloat16 against float32" in note for note in without.notes)


def test_the_decision_and_kl_divergence_use_the_control(lossless: Path) -> None:
    permute_channels(lossless / "base", lossless / "other", noise=0.02)
    result = gate.run("gate.yml")
    manifests = [json.loads(path.read_text()) for path in (lossless / ".gate").rglob("manifest.json")]
    candidate = next(one for one in manifests if one["model"]["name"] == "other")
    control = next(one for one in manifests if one["model"]["control"])
    assert candidate["reference"] == control["model"]["fingerprint"] == result.baseline["fingerprint"]
    # the same comparison by hand: the baseline in float32 against the candidate
    by_hand = gate.evaluate("gate.yml", "base", out="float32")
    scores = {row["item_id"]: row["score"] for row in by_hand.tasks["animals"].table.to_pylist()}
    assert result.tasks[0].baseline == sum(scores.values()) / ITEMS
    assert result.tasks[0].kl_mean is not None


def test_the_control_is_cached_for_its_stack(lossless: Path) -> None:
    gate.run("gate.yml")
    assert len(baseline_folders(lossless)) == 2
    messages = Messages()
    first, second = gate.run("gate.yml"), gate.run("gate.yml", reporter=messages)
    assert len(baseline_folders(lossless)) == 2
    assert any(text.startswith("control base: 1 task(s) from the cache") for text in messages.texts)
    assert first.control == second.control
    messages = Messages()
    gate.run("gate.yml", reporter=messages, force_baseline=True)
    assert "control base: evaluating animals" in messages.texts


def test_gate_noise_measures_what_gate_run_then_uses(lossless: Path) -> None:
    code, out, err = run_gate("noise", "--json")
    assert code == 0
    assert "control base: evaluating animals" in err
    noise = json.loads(out)
    assert noise["kind"] == "stack"
    assert noise["excess"] is None
    assert noise["floor"]["flips"] == noise["tasks"][0]["flips"] > 0
    messages = Messages()
    result = gate.run("gate.yml", reporter=messages)
    assert any(text.startswith("control base: 1 task(s) from the cache") for text in messages.texts)
    assert control_of(result).floor.model_dump(mode="json") == noise["floor"]


def test_early_stopping_watches_the_control_not_the_cache(lossless: Path) -> None:
    edit_gate_yml(lossless, decision={"early_stop": {"alpha": 0.01, "every": 64}})
    result = gate.run("gate.yml")
    assert control_of(result).floor.flips > 0
    assert result.early_stop is not None
    assert result.early_stop.log_e_value == pytest.approx(0.0)  # the e-value without a flip is 1


def test_a_series_of_runs_continues_under_another_control(project: Path) -> None:
    spending = {"alpha_spending": {"kind": "yearly"}}
    edit_gate_yml(project, decision=spending)
    first = gate.run("gate.yml")
    edit_gate_yml(project, decision={**spending, "control": "never"})
    second = gate.run("gate.yml")
    assert first.spending is not None
    assert second.spending is not None
    assert (first.spending.run, second.spending.run) == (1, 2)


def test_equal_stacks_need_no_control(project: Path) -> None:
    result = gate.run("gate.yml")
    assert result.control is None
    assert len(baseline_folders(project)) == 1
    assert not any("stacks" in note for note in result.notes)


def test_always_measures_the_noise_of_equal_stacks_by_a_second_run_in_other_batches(project: Path) -> None:
    edit_gate_yml(project, decision={"control": "always"})
    result = gate.run("gate.yml")
    control = control_of(result)
    assert (control.kind, control.differences) == ("repeat", {})
    assert control.floor.items == 24
    assert control.floor.flips == 0  # float32 rounds too little to flip an item of this task
    assert 0 <= control.floor.kl_mean < 1e-5
    assert not control.floor.kl_is_bound  # the second run measured it
    assert control.excess.candidate_alone == result.tasks[0].regressions + result.tasks[0].improvements
    edit_gate_yml(project, decision={"control": "auto"})
    assert gate.run("gate.yml").p_value == result.p_value  # the cached run decides in both


def test_gate_noise_without_another_stack_answers_twice_in_other_batches(project: Path) -> None:
    code, out, err = run_gate("noise")
    assert code == 0
    assert "second run of base: evaluating animals" in err
    assert "0 of 24 items flip between two runs of the baseline" in " ".join(out.split())
    assert run_gate("noise", "--candidate", "nobody").code == 2


def test_settings_are_what_a_candidate_with_the_baseline_s_own_weights_tests(lossless: Path) -> None:
    edit_gate_yml(lossless, candidate={"model": "base", "dtype": "float32"})
    result = gate.run("gate.yml")
    assert result.control is None
    assert result.flip_rate > 0
    assert any("baseline's weights, so this is what the comparison tests" in note for note in result.notes)


def test_a_set_without_a_recorded_stack_differs_only_in_what_is_known(project: Path) -> None:
    gate.run("gate.yml")
    (manifest,) = (project / ".gate" / "baseline").rglob("manifest.json")
    content = json.loads(manifest.read_text())
    assert content["model"].pop("stack")["max_batch_tokens"] == "auto"
    manifest.write_text(json.dumps(content))
    edit_gate_yml(project, engine={"device": "cpu", "max_batch_tokens": 64})
    assert gate.run("gate.yml").control is None
    # with the stack recorded, the batch setting is a difference
    gate.run("gate.yml", force_baseline=True)
    edit_gate_yml(project, engine={"device": "cpu", "max_batch_tokens": 128})
    assert control_of(gate.run("gate.yml")).differences == {"max_batch_tokens": ("64", "128")}


def test_each_candidate_is_compared_with_the_baseline_on_its_own_stack(lossless: Path) -> None:
    settings = load_config(lossless / "gate.yml").config.model_dump(exclude_defaults=True)
    settings.pop("candidate")
    settings["candidates"] = [
        {"name": "wide", "model": "other", "dtype": "float32"},
        {"name": "narrow", "model": "other", "dtype": "bfloat16"},
    ]
    (lossless / "gate.yml").write_text(json.dumps(settings | {"version": 1}))
    result = gate.run_candidates("gate.yml")
    assert control_of(result["wide"]).kind == "stack"
    assert result["wide"].flip_rate == 0
    assert result["narrow"].control is None
    assert result["narrow"].baseline["loaded_dtype"] == "bfloat16"


def test_a_baseline_that_the_candidate_s_server_does_not_have_leaves_model_and_stack_confounded(
    project: Path, other_tiny_model: Path
) -> None:
    with serve(FakeVllm(other_tiny_model)) as url:
        served = {"model": NAME, "engine": {"kind": "openai", "base_url": url}}
        edit_gate_yml(project, candidate=served)
        result = gate.run("gate.yml")
        control = control_of(result)
        assert control.kind == "none"
        assert "does not list the baseline base" in control.note
        assert control.differences["engine"] == ("transformers", "openai")
        assert control.floor is None
        assert [finding.kind for finding in result.warnings] == ["stack"]
        assert "does not separate the model from the stack" in render_markdown(result)
        assert "Model or stack" not in render_html(result)
        edit_gate_yml(project, decision={"control": "always"})
        with pytest.raises(ConfigError, match=r"decision.control is always, but .* does not list the baseline base"):
            gate.run("gate.yml")


def test_a_baseline_that_only_a_server_has_is_not_evaluated_here(project: Path, tiny_model: Path) -> None:
    with serve(FakeVllm(tiny_model)) as url:
        edit_gate_yml(project, baseline={"model": NAME, "engine": {"kind": "openai", "base_url": url}})
        control = control_of(gate.run("gate.yml"))
    assert control.kind == "none"
    assert control.note == f"only a server has the weights of the baseline {NAME}"


def test_reports_show_the_noise_beside_the_candidate_s_changes(lossless: Path) -> None:
    permute_channels(lossless / "base", lossless / "other", noise=0.3)
    result = gate.run("gate.yml")
    flips = result.tasks[0].regressions + result.tasks[0].improvements
    floor = control_of(result).floor
    for text in (render_markdown(result), render_html(result)):
        assert f"{floor.flips} of {ITEMS} items flip between the cached baseline and the control" in text
        assert f"The candidate flips {flips} of {ITEMS}" in text
        assert "it moved more than noise" in text
    terminal = " ".join(run_gate("run")[1].split())
    assert f"Noise floor: {floor.flips} of {ITEMS} items flip" in terminal
    assert gate.Result.model_validate_json(to_json(result)) == result
