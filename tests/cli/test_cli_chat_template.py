"""A candidate whose chat template differs from the baseline's is refused before it is evaluated."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.commands import run_gate
from support.tiny import TINY_TASK, edit_gate_yml, write_tiny_model, write_tiny_project

pytest.importorskip("transformers")

TEMPLATE = "chat_template.jinja"


def project(folder: Path, template: str | None) -> Path:
    """Write a project with one model on both sides, of which the candidate has another chat template."""
    model = write_tiny_model(folder / "model")
    tasks = [{**TINY_TASK, "chat_template": True, "system": "You are a helpful assistant."}]
    root = write_tiny_project(folder / "project", model, model, tasks=tasks, samples={"limit": 20})
    if template is not None:
        (root / "other" / TEMPLATE).write_text(template, encoding="utf-8")
    return root / "gate.yml"


def without_system(folder: Path) -> str:
    template = (write_tiny_model(folder / "template") / TEMPLATE).read_text(encoding="utf-8")
    shutil.rmtree(folder / "template")
    return "{% set messages = messages | rejectattr('role', 'equalto', 'system') | list %}" + template


def test_a_lost_system_message_is_shown_and_the_baselines_tokenizer_makes_the_comparison_possible(
    tmp_path: Path,
) -> None:
    config = project(tmp_path, without_system(tmp_path))
    code, _, err = run_gate("run", "--config", config)
    assert code == 2
    assert "its chat template does not give the baseline's prompts: task animals, item" in err
    assert "the baseline has '<s>system: You are a helpful assistant." in err
    assert "the candidate '<s>user: Q: Which animal is number" in err
    assert "from character 4 on" in err
    assert "Set candidate.tokenizer: baseline" in err
    assert "candidate other: evaluating" in err
    assert "items/s" not in err.split("candidate other: evaluating")[1]
    edit_gate_yml(config.parent, candidate={"model": "other", "tokenizer": "baseline"})
    code, out, _ = run_gate("run", "--config", config)
    assert code != 1
    assert "0/0" in out


def test_equal_templates_in_other_words_are_compared(tmp_path: Path) -> None:
    same = (write_tiny_model(tmp_path / "template") / TEMPLATE).read_text(encoding="utf-8")
    config = project(tmp_path, "{# the same #}" + same)
    code, out, _ = run_gate("run", "--config", config)
    assert code != 2
    assert "0/0" in out


def test_a_template_that_writes_the_time_gives_both_models_the_same_prompts(tmp_path: Path) -> None:
    dated = "Now: {{ strftime_now('%d %b %Y %H:%M:%S.%f') }}" + (
        write_tiny_model(tmp_path / "template") / TEMPLATE
    ).read_text(encoding="utf-8")
    config = project(tmp_path, dated)
    (config.parent / "base" / TEMPLATE).write_text(dated, encoding="utf-8")
    for _ in range(2):  # the second time with the baseline from the cache
        code, out, err = run_gate("run", "--config", config)
        assert code != 2, err
        assert "0/0" in out
    assert "from the cache" in err
