"""The public Python API: what `from gate import ...` offers."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path

import pytest
from support.tiny import write_gate_yml, write_tiny_task

import gate


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A baseline and a candidate in two tasks; the candidate loses 20 items of the first."""
    paths = []
    for name, lost in (("a", 0), ("b", 20)):
        rows = [f"faq,i{item},x,{'y' if item < lost else 'x'},{int(item >= lost)}" for item in range(40)]
        rows += [f"law,i{item},x,x,{item % 2}" for item in range(10)]
        path = tmp_path / f"{name}.csv"
        text = "\n".join(["task,item_id,output,target,correct", *rows]).replace(",y,", ",x,")
        path.write_text(text + "\n", encoding="utf-8")
        paths.append(path)
    return paths[0], paths[1]


class Recorder:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.results: list[gate.Result] = []
        self.finished = 0

    def message(self, text: str) -> None:
        self.messages.append(text)

    def progress(self, description: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        def advance(count: int) -> None:
            self.finished += count

        return nullcontext(advance)

    def result(self, result: gate.Result) -> None:
        self.results.append(result)


def test_every_public_name_can_be_imported_and_is_documented() -> None:
    for name in gate.__all__:
        assert getattr(gate, name).__doc__, name
    assert set(gate.__all__) <= set(dir(gate))
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = gate.nothing_like_this


def test_import_gate_is_light() -> None:
    code = "import sys, gate; print(*sorted(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "pyarrow", "pydantic", "torch", "pandas"} & set(done.stdout.split())


@pytest.mark.parametrize("module", ["compare", "samples", "plan", "run", "answers"])
def test_the_examples_run(module: str) -> None:
    found = doctest.testmod(import_module(f"gate.app.{module}"))
    assert found.attempted >= 1
    assert found.failed == 0


def test_compare_takes_paths_or_samples_and_a_policy(pair: tuple[Path, Path]) -> None:
    baseline, candidate = map(gate.load_samples, pair)
    for sides in (pair, (baseline, candidate), (str(pair[0]), candidate)):
        result = gate.compare(*sides)
        assert (result.verdict, result.exit_code) == ("FAIL", 1)
        assert [task.regressions for task in result.tasks] == [20, 0]
    assert gate.compare(*pair, tasks=["law"]).verdict == "PASS"
    assert gate.compare(*pair, advisory=["faq"]).verdict == "PASS"
    assert gate.compare(baseline, baseline, certify=0.01).verdict == "INCONCLUSIVE"
    with pytest.raises(gate.GateError, match="no such task in the files: fqa; they have: faq, law"):
        gate.compare(*pair, tasks=["fqa"])


@pytest.mark.parametrize("wrong", [{"alhpa": 0.1}, {"alpha": 2}, {"rule": "median"}])
def test_a_wrong_setting_is_an_error_that_names_it(pair: tuple[Path, Path], wrong: dict[str, object]) -> None:
    with pytest.raises(gate.GateError, match=next(iter(wrong))):
        gate.compare(*pair, **wrong)
    with pytest.raises(gate.GateError, match=next(iter(wrong))):
        gate.plan(n=10, **wrong)


def test_a_result_is_a_data_frame_of_tasks(pair: tuple[Path, Path]) -> None:
    frame = gate.compare(*pair).to_pandas()
    assert list(frame.index) == ["faq", "law"]
    assert frame.loc["faq", ["regressions", "improvements", "drop"]].tolist() == [20, 0, 0.5]
    assert frame.loc["faq", "drop_ci90_low"] < 0.5 < frame.loc["faq", "drop_ci90_high"]
    assert "subtasks" not in frame.columns


def test_samples_are_a_data_frame_of_samples(pair: tuple[Path, Path]) -> None:
    frame = gate.load_samples(pair[1]).to_pandas()
    assert len(frame) == 50
    assert frame.groupby("task").score.mean().to_dict() == {"faq": 0.5, "law": 0.5}


def test_plan_answers_both_questions(pair: tuple[Path, Path]) -> None:
    plan = gate.plan(n=1000, flip_rate=0.08, drop=0.02)["flip rate 0.08"]
    assert plan.tasks[0].needed == plan.needed == 1629
    audited = gate.plan(n=1000, flip_rate=0.02)["flip rate 0.02"]
    assert audited.detectable_drop == pytest.approx(0.0153, abs=1e-4)
    observed = gate.plan(*pair)["flip rates as observed"]
    assert [task.flip_rate for task in observed.tasks] == [0.5, 0.05]
    with pytest.raises(gate.GateError, match="too little to plan with"):
        gate.plan(drop=0.01)


def test_run_and_evaluate_report_to_the_reporter(tmp_path: Path, tiny_model: Path) -> None:
    write_tiny_task(tmp_path / "items.jsonl")
    path = write_gate_yml(tmp_path, str(tiny_model), str(tiny_model))
    recorder = Recorder()
    result = gate.run(path, reporter=recorder)
    assert recorder.results == [result]
    assert result.verdict == "PASS"
    assert result.provenance["reproduce"] == [f"gate run --config {path}"]
    assert recorder.finished == 48  # 24 items per model
    assert any("baseline" in text for text in recorder.messages)
    samples = gate.evaluate(path, tiny_model, out=tmp_path / "answers")
    compared = gate.compare(samples, tmp_path / "answers")
    assert [finding.kind for finding in compared.validity] == ["chance", "same-model"]  # a random model, twice
    assert (compared.verdict, compared.tasks[0].flip_rate) == ("INCONCLUSIVE", 0.0)


def test_errors_are_gate_errors_with_an_exit_code(tmp_path: Path) -> None:
    for call in (
        lambda: gate.load_samples(tmp_path / "missing.csv"),
        lambda: gate.run(tmp_path / "missing.yml"),
        lambda: gate.evaluate(tmp_path / "missing.yml", out=tmp_path / "out"),
    ):
        with pytest.raises(gate.GateError, match="missing") as caught:
            call()
        assert caught.value.exit_code == 2
