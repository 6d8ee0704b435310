"""Broken and hostile files of a model: each is an error with exit code 2 or 4 that names the model, never a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_gate
from support.tiny import write_tiny_project


@pytest.fixture
def project(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_tiny_project(tmp_path, tiny_model, tiny_model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | values))


@pytest.mark.parametrize(
    "values",
    [
        {"hidden_size": "abc"},
        {"num_attention_heads": 0},
        {"num_key_value_heads": 0},
        {"eos_token_id": "x"},
        {"rope_parameters": "x"},
        {"pad_token_id": 10**9},
        {"head_dim": 7},
        {"layer_types": [1, 2]},
        {"dtype": "__class__"},
        {"rms_norm_eps": "nan"},
        {"num_labels": 10**9},
    ],
    ids=lambda values: next(iter(values)),
)
def test_broken_config_is_named(project: Path, values: dict[str, Any]) -> None:
    change(project / "other" / "config.json", **values)
    code, _, err = run_gate("evaluate", "other", "-o", "out")
    assert code == 2
    assert "error: model " in err
    assert "other" in err


@pytest.mark.parametrize("eos", ["x", 1.5, True, [1, "x"]])
def test_broken_end_token_is_named(project: Path, eos: object) -> None:
    change(project / "other" / "generation_config.json", eos_token_id=eos)
    code, _, err = run_gate("evaluate", "other", "-o", "out")
    assert code == 2
    assert "other" in err


def _index(content: str) -> Callable[[Path], None]:
    def apply(model: Path) -> None:
        shutil.move(model / "model.safetensors", model.parent / "elsewhere.safetensors")
        (model / "model.safetensors.index.json").write_text(content.replace("PARENT", str(model.parent)))

    return apply


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"weight_map": ' + "[" * 100_000, "not a valid index"),
        ('{"weight_map": {"a": 5}}', "not a valid index"),
        ('{"weight_map": {"a": "PARENT/elsewhere.safetensors"}}', "outside of the model's folder"),
        ('{"weight_map": {"a": "../elsewhere.safetensors"}}', "outside of the model's folder"),
    ],
    ids=["deep", "number", "absolute path", "parent folder"],
)
def test_broken_index_is_named(project: Path, content: str, message: str) -> None:
    _index(content)(project / "other")
    code, _, err = run_gate("evaluate", "other", "-o", "out")
    assert code == 2
    assert "error: model " in err
    assert "other" in err
    assert message in err


def test_tokens_that_the_embedding_lacks_are_explained(project: Path) -> None:
    path = project / "other" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {token: number + 10**6 * (number > 9) for token, number in vocabulary.items()}
    path.write_text(json.dumps(tokenizer))
    code, _, err = run_gate("evaluate", "other", "-o", "out")
    assert code == 4
    assert "token ids that the model's embedding does not have" in err


def test_text_as_a_length_of_the_tokenizer_is_named(project: Path) -> None:
    change(project / "other" / "tokenizer_config.json", model_max_length="x")
    code, _, err = run_gate("evaluate", "other", "-o", "out")
    assert code == 2
    assert "model_max_length" in err
