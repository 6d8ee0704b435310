"""A limit on KL divergence that cannot be measured is refused before answers cost time."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.evaluations import choice_task, evaluate, opened
from support.fake_vllm import NAME, FakeVllm, serve
from support.tiny import edit_gate_yml

import gate
from gate.errors import ConfigError
from gate.evaluation.evaluate import TaskEvaluation
from gate.evaluation.recording import NONE

CLOSED = {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"}


@pytest.mark.parametrize("limit", ["task", "decision"])
@pytest.mark.parametrize("side", ["baseline", "candidate"])
def test_a_limit_on_a_text_behind_a_server_is_refused_at_once(project: Path, limit: str, side: str) -> None:
    (project / "text.txt").write_text("the cat sees the dog. " * 40, encoding="utf-8")
    text = {"name": "text", "kind": "text", "file": "text.txt", **({"max_kl": 0.1} if limit == "task" else {})}
    edit_gate_yml(
        project,
        tasks=[text],
        distance={"max_kl": 0.1} if limit == "decision" else {},
        **{side: {"model": NAME, "engine": CLOSED}},
    )
    with pytest.raises(ConfigError, match=f"cannot be measured on text: {side} on a server") as caught:
        gate.run("gate.yml")
    assert "make these tasks advisory, or remove max_kl" in str(caught.value.hint)
    assert not list(project.glob(".gate/**/*.parquet"))


def test_without_a_tokenizer_a_limit_is_refused_before_the_baseline_answers(project: Path, tiny_model: Path) -> None:
    fake = FakeVllm(tiny_model)
    with serve(fake) as url:
        engine = {"kind": "openai", "base_url": url}
        edit_gate_yml(project, distance={"max_kl": 0.1}, baseline={"model": NAME, "engine": engine})
        with pytest.raises(ConfigError, match="cannot be measured on animals: the baseline's tokenizer is unknown"):
            gate.run("gate.yml")
    assert not list(project.glob(".gate/**/*.parquet"))


def test_an_evaluation_without_the_divergence_that_a_limit_needs_ends_after_its_first_file(
    tmp_path: Path, tiny_model: Path
) -> None:
    task, model = choice_task(tmp_path), opened(tiny_model)
    baseline = evaluate(task, model, tmp_path / "a", recording=NONE)
    groups = [task.items[:5], task.items[5:]]
    seen: list[int] = []
    with pytest.raises(ConfigError, match="not measured on 5 of its first 5 items"):
        TaskEvaluation(task, *model, tmp_path / "b", baseline, limited=True).run(seen.append, groups)
    assert sum(seen) <= 5
