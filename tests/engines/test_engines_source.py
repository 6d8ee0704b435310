"""Locating a model, checking its files, and its identity. Nothing is loaded."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from gate.config import EngineSettings, ModelSettings
from gate.engines import ModelIdentity, ModelSource, fetch, identify, locate, open_engine
from gate.errors import ExitCode, ModelError

ENGINE = EngineSettings(device="cpu")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def locate_folder(folder: Path, **options: Any) -> ModelSource:
    return locate(ModelSettings(model=str(folder), **options), folder.parent)


def locate_error(folder: Path, **options: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        locate_folder(folder, **options)
    assert caught.value.exit_code is ExitCode.USAGE
    return caught.value


def identify_folder(folder: Path, engine: EngineSettings = ENGINE, **options: Any) -> ModelIdentity:
    return identify(locate_folder(folder, **options), engine, folder.parent)


def test_a_complete_folder_is_located_by_absolute_and_relative_path(model: Path) -> None:
    assert locate_folder(model).folder == model
    for name in ("./model", "model", "../" + model.parent.name + "/model"):
        source = locate(ModelSettings(model=name), model.parent)
        assert (source.folder, source.revision) == (model, None)


@pytest.mark.parametrize("name", ["./nothing", "/no/where", "~/no-such-model-here", "a/b/c", "..\\model"])
def test_a_missing_folder_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        locate(ModelSettings(model=name), tmp_path)


def test_a_local_folder_has_no_revision(model: Path) -> None:
    error = locate_error(model, revision="abc")
    assert f"model {model}: revision abc is set" in error.message
    assert "remove `revision`" in str(error.hint)


def test_a_file_in_place_of_a_folder_is_an_error_with_the_right_settings(model: Path) -> None:
    assert "this is a file; expected its folder" in locate_error(model / "model.safetensors").message
    (model / "tiny-q4.gguf").write_bytes(b"GGUF")
    assert locate_error(model / "tiny-q4.gguf").hint == f"Write model: {model} and gguf_file: tiny-q4.gguf."


def test_a_folder_without_weights_is_refused(model: Path) -> None:
    (model / "model.safetensors").unlink()
    error = locate_error(model)
    assert error.message == f"model {model}: no weights in {model}."
    assert "model.safetensors" in str(error.hint)


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    error = locate_error(tmp_path)
    assert error.message == f"model {tmp_path}: no config.json in {tmp_path}."
    assert error.hint == "Expected a folder that save_pretrained wrote."


def test_an_adapter_without_its_base_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    save_file({"a": torch.zeros(1)}, tmp_path / "adapter_model.safetensors")
    assert "write `model:` for its base model" in str(locate_error(tmp_path).hint)


def test_a_gguf_file_must_be_named_and_exist(tmp_path: Path) -> None:
    assert "no file q4.gguf in" in locate_error(tmp_path, gguf_file="q4.gguf").message
    assert "GGUF files there: none" in locate_error(tmp_path, gguf_file="q4.gguf").message
    (tmp_path / "q8.gguf").write_bytes(b"GGUF")
    assert "GGUF files there: q8.gguf" in locate_error(tmp_path, gguf_file="q4.gguf").message
    assert locate_error(tmp_path).hint == "Set gguf_file: q8.gguf."
    assert locate_folder(tmp_path, gguf_file="q8.gguf").folder == tmp_path


def test_pickled_weights_are_refused_unless_allowed(model: Path) -> None:
    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    error = locate_error(model)
    assert "only pickled weights (pytorch_model.bin), which can run code" in error.message
    assert "allow_pickle: true" in str(error.hint)
    assert locate_folder(model, allow_pickle=True).folder == model


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, 0.2, 0.5, 0.9, -1])
def test_truncated_safetensors_are_refused(model: Path, length: float) -> None:
    weights = model / "model.safetensors"
    content = weights.read_bytes()
    truncated = content[: int(len(content) * length)] if 0 < length < 1 else content[: int(length)]
    weights.write_bytes(truncated)
    assert f"({len(truncated)} bytes) is truncated or corrupt" in locate_error(model).message


@given(share=st.floats(0, 1, exclude_max=True))
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_safetensors_truncated_anywhere_are_refused(tiny_model: Path, tmp_path: Path, share: float) -> None:
    shutil.copy(tiny_model / "config.json", tmp_path / "config.json")
    content = (tiny_model / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[: int(len(content) * share)])
    assert "is truncated or corrupt" in locate_error(tmp_path).message


def test_the_shards_in_the_index_must_exist_and_be_intact(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    names = sorted(weights)
    shards = {"a.safetensors": names[:5], "b.safetensors": names[5:]}
    for shard, group in shards.items():
        save_file({name: weights[name] for name in group}, model / shard, metadata={"format": "pt"})
    (model / "model.safetensors").unlink()
    index = model / "model.safetensors.index.json"
    weight_map = {name: shard for shard, group in shards.items() for name in group}
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}), encoding="utf-8")
    assert locate_folder(model).folder == model
    second = (model / "b.safetensors").read_bytes()
    (model / "b.safetensors").write_bytes(second[:-4])
    assert "b.safetensors" in locate_error(model).message
    (model / "b.safetensors").unlink()
    assert "1 of 2 weight files are missing: b.safetensors." in locate_error(model).message
    for broken in (
        "{",
        "{}",
        "[]",
        '{"weight_map": 3}',
        '{"weight_map": {"a": [1]}}',
        '{"weight_map": {"a": 3}}',
    ):
        index.write_text(broken, encoding="utf-8")
        assert "is not a valid index of shards" in locate_error(model).message


# identity


def test_a_copy_of_the_files_is_the_same_model(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    original, copied = identify_folder(model), identify_folder(copy)
    assert original.name != copied.name
    assert original.fingerprint == copied.fingerprint
    assert original.revision is None


@pytest.mark.parametrize("position", [-1, -1000, 0.5])
def test_one_changed_byte_of_the_weights_is_another_model(model: Path, position: float) -> None:
    before = identify_folder(model)
    weights = model / "model.safetensors"
    content, stat = bytearray(weights.read_bytes()), weights.stat()
    content[int(len(content) * position) if 0 < position < 1 else int(position)] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = identify_folder(model)
    assert after.weights != before.weights
    assert after.fingerprint != before.fingerprint
    assert after.tokenizer == before.tokenizer


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", *TOKENIZER_FILES])
def test_a_change_of_any_file_that_affects_the_numbers_is_another_model(model: Path, name: str) -> None:
    before = identify_folder(model)
    with (model / name).open("a", encoding="utf-8") as handle:
        handle.write("\n")
    after = identify_folder(model)
    assert after.fingerprint != before.fingerprint
    assert (after.tokenizer != before.tokenizer) is (name in TOKENIZER_FILES)


def test_shards_in_subfolders_are_part_of_the_model(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    names = sorted(weights)
    (model / "weights").mkdir()
    for shard, group in (("a", names[:5]), ("b", names[5:])):
        tensors = {name: weights[name] for name in group}
        save_file(tensors, model / "weights" / f"{shard}.safetensors", metadata={"format": "pt"})
    (model / "model.safetensors").unlink()
    weight_map = {name: f"weights/{'a' if name in names[:5] else 'b'}.safetensors" for name in names}
    index = {"metadata": {}, "weight_map": weight_map}
    (model / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    before = identify_folder(locate_folder(model).folder or model)
    shard = model / "weights" / "b.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert identify_folder(model).weights != before.weights
    (model / "old-checkpoint").mkdir()
    changed = identify_folder(model)
    (model / "old-checkpoint" / "model.safetensors").write_bytes(b"another model")
    assert identify_folder(model) == changed


def test_a_readme_and_a_log_are_not_part_of_the_model(model: Path) -> None:
    before = identify_folder(model)
    (model / "README.md").write_text("hello", encoding="utf-8")
    (model / "training.log").write_text("hello", encoding="utf-8")
    (model / "modeling.py").write_text("hello", encoding="utf-8")
    assert identify_folder(model) == before
    trusting = EngineSettings(device="cpu", trust_remote_code=True)
    assert identify_folder(model, trusting).weights != before.weights


def test_dtype_and_attention_are_part_of_the_identity_and_batches_are_not(model: Path) -> None:
    before = identify_folder(model).fingerprint
    assert identify_folder(model, dtype="float16").fingerprint != before
    assert identify_folder(model, EngineSettings(attn_implementation="eager")).fingerprint != before
    assert identify_folder(model, EngineSettings(max_batch_tokens=7)).fingerprint == before


def test_a_gguf_model_is_identified_by_its_file(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(name.encode())
    a, b = (identify_folder(tmp_path, gguf_file=name) for name in ("a.gguf", "b.gguf"))
    assert a.fingerprint != b.fingerprint
    (tmp_path / "b.gguf").write_bytes(b"other")
    assert identify_folder(tmp_path, gguf_file="a.gguf") == a
    assert identify_folder(tmp_path, gguf_file="b.gguf") != b


def test_a_named_tokenizer_is_part_of_the_identity(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "tokenizer"
    other.mkdir()
    shutil.copy(model / "tokenizer.json", other / "tokenizer.json")
    own, named = identify_folder(model), identify_folder(model, tokenizer="./tokenizer")
    assert own.tokenizer != named.tokenizer
    (other / "tokenizer.json").write_text("{}", encoding="utf-8")
    assert identify_folder(model, tokenizer="./tokenizer").tokenizer != named.tokenizer
    assert identify_folder(model, tokenizer="baseline").tokenizer == "baseline"


# the tokenizer


def without_tokenizer(model: Path, folder: Path) -> Path:
    return Path(shutil.copytree(model, folder, ignore=shutil.ignore_patterns(*TOKENIZER_FILES)))


def test_a_model_uses_its_own_tokenizer(model: Path) -> None:
    assert fetch(locate_folder(model), ENGINE, model.parent, None).tokenizer_folder == model


def test_a_candidate_without_tokenizer_uses_the_baselines(model: Path, tmp_path: Path) -> None:
    bare = without_tokenizer(model, tmp_path / "bare")
    assert fetch(locate_folder(bare), ENGINE, tmp_path, locate_folder(model)).tokenizer_folder == model
    fetched = fetch(locate_folder(model), ENGINE, tmp_path, None)
    assert fetch(locate_folder(bare), ENGINE, tmp_path, fetched).tokenizer_folder == model


def test_a_candidate_can_be_set_to_use_the_baselines_tokenizer(model: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(model, tmp_path / "other"))
    assert fetch(locate_folder(other), ENGINE, tmp_path, locate_folder(model)).tokenizer_folder == other
    source = locate_folder(other, tokenizer="baseline")
    assert fetch(source, ENGINE, tmp_path, locate_folder(model)).tokenizer_folder == model


def test_a_tokenizer_folder_can_be_named(model: Path, tmp_path: Path) -> None:
    bare = without_tokenizer(model, tmp_path / "bare")
    assert fetch(locate_folder(bare, tokenizer="./model"), ENGINE, tmp_path, None).tokenizer_folder == model


def test_without_any_tokenizer_is_an_error_with_both_remedies(model: Path, tmp_path: Path) -> None:
    bare = without_tokenizer(model, tmp_path / "bare")
    with pytest.raises(ModelError, match="no tokenizer files in") as caught:
        fetch(locate_folder(bare), ENGINE, tmp_path, None)
    assert "set `tokenizer:`" in str(caught.value.hint)


def test_a_gguf_file_contains_its_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "q8.gguf").write_bytes(b"GGUF")
    source = fetch(locate_folder(tmp_path, gguf_file="q8.gguf"), ENGINE, tmp_path, None)
    assert source.tokenizer_folder == source.folder == tmp_path


# optional packages


@pytest.mark.parametrize("package", ["torch", "transformers", "accelerate", "safetensors"])
def test_opening_an_engine_without_its_packages_is_an_error_with_the_command_to_install_them(
    model: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    source = fetch(locate_folder(model), ENGINE, model.parent, None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError, match=rf"not installed: {package}\.") as caught:
        open_engine(source, ENGINE)
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.hint == "pip install 'quantgate[transformers]'"


def test_reading_weights_without_safetensors_is_an_error(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert "not installed: safetensors." in locate_error(model).message


# served models


SERVED = EngineSettings(kind="openai", base_url="http://127.0.0.1:9/v1")


def served(folder: Path, **options: Any) -> ModelSource:
    return locate(ModelSettings(model="org/any-name", **options), folder, SERVED)


def test_a_served_model_is_a_name_and_needs_no_files(tmp_path: Path) -> None:
    source = served(tmp_path)
    assert source.served
    assert fetch(source, SERVED, tmp_path, None) == source
    assert source.folder is source.tokenizer_folder is None


def test_a_served_candidate_uses_the_baselines_tokenizer(model: Path, tmp_path: Path) -> None:
    for options in ({}, {"tokenizer": "baseline"}):
        assert fetch(served(tmp_path, **options), SERVED, tmp_path, locate_folder(model)).tokenizer_folder == model
    with pytest.raises(ModelError, match="no tokenizer files in the server"):
        fetch(served(tmp_path, tokenizer="baseline"), SERVED, tmp_path, None)


def test_a_served_model_can_name_a_tokenizer(model: Path, tmp_path: Path) -> None:
    source = served(model.parent, tokenizer="./model")
    assert fetch(source, SERVED, model.parent, None).tokenizer_folder == model
    # a served candidate uses the tokenizer that a served baseline names, if any
    assert fetch(served(tmp_path), SERVED, model.parent, source).tokenizer_folder == model
    assert fetch(served(tmp_path), SERVED, model.parent, served(tmp_path)).tokenizer_folder is None


def test_a_candidate_cannot_use_a_tokenizer_that_the_baseline_lacks(model: Path, tmp_path: Path) -> None:
    bare = without_tokenizer(model, tmp_path / "bare")
    with pytest.raises(ModelError, match="so the candidate cannot use its tokenizer"):
        fetch(served(tmp_path), SERVED, tmp_path, locate_folder(bare))
