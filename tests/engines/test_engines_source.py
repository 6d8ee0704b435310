"""Where a model is, whether its files are whole, and its identity; nothing is loaded here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from gate.config import EngineSettings, ModelSettings
from gate.engines import ModelIdentity, ModelSource, fetch, identify, locate
from gate.errors import ExitCode, ModelError

ENGINE = EngineSettings(device="cpu")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def find(folder: Path, **options: Any) -> ModelSource:
    return locate(ModelSettings(model=str(folder), **options), folder.parent)


def refusal(folder: Path, **options: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        find(folder, **options)
    assert caught.value.exit_code is ExitCode.USAGE
    return caught.value


def identity(folder: Path, engine: EngineSettings = ENGINE, **options: Any) -> ModelIdentity:
    return identify(find(folder, **options), engine, folder.parent)


def test_a_whole_folder_is_found_by_absolute_and_relative_path(model: Path) -> None:
    assert find(model).folder == model
    for name in ("./model", "model", "../" + model.parent.name + "/model"):
        source = locate(ModelSettings(model=name), model.parent)
        assert (source.folder, source.revision) == (model, None)


@pytest.mark.parametrize("name", ["./nothing", "/no/where", "~/no-such-model-here", "a/b/c", "..\\model"])
def test_a_path_that_is_not_there_is_an_error_that_names_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        locate(ModelSettings(model=name), tmp_path)


def test_a_local_folder_has_no_revision(model: Path) -> None:
    found = refusal(model, revision="abc")
    assert f"model {model}: revision abc is set" in found.message
    assert "remove `revision`" in str(found.hint)


def test_a_file_in_place_of_a_folder_says_what_to_write(model: Path) -> None:
    assert "this is a file; expected its folder" in refusal(model / "model.safetensors").message
    (model / "tiny-q4.gguf").write_bytes(b"GGUF")
    assert refusal(model / "tiny-q4.gguf").hint == f"Write model: {model} and gguf_file: tiny-q4.gguf."


def test_a_folder_without_weights_is_refused(model: Path) -> None:
    (model / "model.safetensors").unlink()
    error = refusal(model)
    assert error.message == f"model {model}: no weights in {model}."
    assert "model.safetensors" in str(error.hint)


def test_an_empty_folder_lacks_its_config(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert error.message == f"model {tmp_path}: no config.json in {tmp_path}."
    assert error.hint == "Expected a folder that save_pretrained wrote."


def test_an_adapter_alone_is_to_be_merged_first(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    save_file({"a": torch.zeros(1)}, tmp_path / "adapter_model.safetensors")
    assert "merge it into its base model first" in str(refusal(tmp_path).hint)


def test_a_gguf_file_must_be_named_and_there(tmp_path: Path) -> None:
    assert "no file q4.gguf in" in refusal(tmp_path, gguf_file="q4.gguf").message
    assert "GGUF files there: none" in refusal(tmp_path, gguf_file="q4.gguf").message
    (tmp_path / "q8.gguf").write_bytes(b"GGUF")
    assert "GGUF files there: q8.gguf" in refusal(tmp_path, gguf_file="q4.gguf").message
    assert refusal(tmp_path).hint == "Set gguf_file: q8.gguf."
    assert find(tmp_path, gguf_file="q8.gguf").folder == tmp_path


def test_pickled_weights_are_refused_unless_allowed_by_name(model: Path) -> None:
    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    error = refusal(model)
    assert "only pickled weights (pytorch_model.bin), which can run code" in error.message
    assert "allow_pickle: true" in str(error.hint)
    assert find(model, allow_pickle=True).folder == model


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 100, 0.2, 0.5, 0.9, -1])
def test_truncated_safetensors_are_refused(model: Path, kept: float) -> None:
    weights = model / "model.safetensors"
    content = weights.read_bytes()
    cut = content[: int(len(content) * kept)] if 0 < kept < 1 else content[: int(kept)]
    weights.write_bytes(cut)
    assert f"({len(cut)} bytes) is truncated or broken" in refusal(model).message


@given(share=st.floats(0, 1, exclude_max=True))
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_safetensors_cut_anywhere_are_refused(tiny_model: Path, tmp_path: Path, share: float) -> None:
    shutil.copy(tiny_model / "config.json", tmp_path / "config.json")
    content = (tiny_model / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[: int(len(content) * share)])
    assert "is truncated or broken" in refusal(tmp_path).message


def test_a_shard_that_the_index_names_must_be_there_and_whole(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    names = sorted(weights)
    shards = {"a.safetensors": names[:5], "b.safetensors": names[5:]}
    for shard, held in shards.items():
        save_file({name: weights[name] for name in held}, model / shard, metadata={"format": "pt"})
    (model / "model.safetensors").unlink()
    index = model / "model.safetensors.index.json"
    placed = {name: shard for shard, held in shards.items() for name in held}
    index.write_text(json.dumps({"metadata": {}, "weight_map": placed}), encoding="utf-8")
    assert find(model).folder == model
    second = (model / "b.safetensors").read_bytes()
    (model / "b.safetensors").write_bytes(second[:-4])
    assert "b.safetensors" in refusal(model).message
    (model / "b.safetensors").unlink()
    assert "1 of 2 weight files are missing: b.safetensors." in refusal(model).message
    for broken in ("{", "{}", "[]", '{"weight_map": 3}', '{"weight_map": {"a": [1]}}'):
        index.write_text(broken, encoding="utf-8")
        assert "is not a readable index of shards" in refusal(model).message


# identity


def test_the_same_files_elsewhere_under_another_name_are_the_same_model(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    one, other = identity(model), identity(copy)
    assert one.name != other.name
    assert one.fingerprint == other.fingerprint
    assert one.revision is None


@pytest.mark.parametrize("place", [-1, -1000, 0.5])
def test_one_byte_of_the_weights_changed_in_place_is_another_model(model: Path, place: float) -> None:
    before = identity(model)
    weights = model / "model.safetensors"
    content, stat = bytearray(weights.read_bytes()), weights.stat()
    content[int(len(content) * place) if 0 < place < 1 else int(place)] ^= 1
    weights.write_bytes(content)
    import os

    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = identity(model)
    assert after.weights != before.weights
    assert after.fingerprint != before.fingerprint
    assert after.tokenizer == before.tokenizer


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", *TOKENIZER_FILES])
def test_a_change_of_any_file_that_reaches_the_numbers_is_another_model(model: Path, name: str) -> None:
    before = identity(model)
    with (model / name).open("a", encoding="utf-8") as handle:
        handle.write("\n")
    after = identity(model)
    assert after.fingerprint != before.fingerprint
    assert (after.tokenizer != before.tokenizer) is (name in TOKENIZER_FILES)


def test_shards_in_folders_below_are_part_of_the_model(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    names = sorted(weights)
    (model / "weights").mkdir()
    for shard, held in (("a", names[:5]), ("b", names[5:])):
        tensors = {name: weights[name] for name in held}
        save_file(tensors, model / "weights" / f"{shard}.safetensors", metadata={"format": "pt"})
    (model / "model.safetensors").unlink()
    placed = {name: f"weights/{'a' if name in names[:5] else 'b'}.safetensors" for name in names}
    index = {"metadata": {}, "weight_map": placed}
    (model / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    before = identity(find(model).folder or model)
    shard = model / "weights" / "b.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert identity(model).weights != before.weights
    (model / "old-checkpoint").mkdir()
    changed = identity(model)
    (model / "old-checkpoint" / "model.safetensors").write_bytes(b"not of this model")
    assert identity(model) == changed


def test_a_readme_and_a_log_are_no_part_of_the_model(model: Path) -> None:
    before = identity(model)
    (model / "README.md").write_text("hello", encoding="utf-8")
    (model / "training.log").write_text("hello", encoding="utf-8")
    (model / "modeling.py").write_text("hello", encoding="utf-8")
    assert identity(model) == before
    trusting = EngineSettings(device="cpu", trust_remote_code=True)
    assert identity(model, trusting).weights != before.weights


def test_dtype_and_attention_are_part_of_the_identity_and_batches_are_not(model: Path) -> None:
    before = identity(model).fingerprint
    assert identity(model, dtype="float16").fingerprint != before
    assert identity(model, EngineSettings(attn_implementation="eager")).fingerprint != before
    assert identity(model, EngineSettings(max_batch_tokens=7)).fingerprint == before


def test_a_gguf_model_is_its_file(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(name.encode())
    a, b = (identity(tmp_path, gguf_file=name) for name in ("a.gguf", "b.gguf"))
    assert a.fingerprint != b.fingerprint
    (tmp_path / "b.gguf").write_bytes(b"other")
    assert identity(tmp_path, gguf_file="a.gguf") == a
    assert identity(tmp_path, gguf_file="b.gguf") != b


def test_a_tokenizer_from_elsewhere_is_part_of_the_identity(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "tokenizer"
    other.mkdir()
    shutil.copy(model / "tokenizer.json", other / "tokenizer.json")
    own, lent = identity(model), identity(model, tokenizer="./tokenizer")
    assert own.tokenizer != lent.tokenizer
    (other / "tokenizer.json").write_text("{}", encoding="utf-8")
    assert identity(model, tokenizer="./tokenizer").tokenizer != lent.tokenizer
    assert identity(model, tokenizer="baseline").tokenizer == "baseline"


# whose tokenizer


def without_tokenizer(model: Path, folder: Path) -> Path:
    return Path(shutil.copytree(model, folder, ignore=shutil.ignore_patterns(*TOKENIZER_FILES)))


def test_a_model_uses_its_own_tokenizer(model: Path) -> None:
    assert fetch(find(model), ENGINE, model.parent, None).tokenizer_folder == model


def test_a_candidate_without_tokenizer_borrows_the_baselines(model: Path, tmp_path: Path) -> None:
    bare = without_tokenizer(model, tmp_path / "bare")
    assert fetch(find(bare), ENGINE, tmp_path, find(model)).tokenizer_folder == model
    fetched = fetch(find(model), ENGINE, tmp_path, None)
    assert fetch(find(bare), ENGINE, tmp_path, fetched).tokenizer_folder == model


def test_a_candidate_may_ask_for_the_baselines_tokenizer(model: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(model, tmp_path / "other"))
    assert fetch(find(other), ENGINE, tmp_path, find(model)).tokenizer_folder == other
    asking = find(other, tokenizer="baseline")
    assert fetch(asking, ENGINE, tmp_path, find(model)).tokenizer_folder == model


def test_a_tokenizer_folder_may_be_named(model: Path, tmp_path: Path) -> None:
    bare = without_tokenizer(model, tmp_path / "bare")
    assert fetch(find(bare, tokenizer="./model"), ENGINE, tmp_path, None).tokenizer_folder == model


def test_no_tokenizer_anywhere_is_an_error_with_both_ways_out(model: Path, tmp_path: Path) -> None:
    bare = without_tokenizer(model, tmp_path / "bare")
    with pytest.raises(ModelError, match="no tokenizer files in") as caught:
        fetch(find(bare), ENGINE, tmp_path, None)
    assert "set `tokenizer:`" in str(caught.value.hint)


def test_a_gguf_file_brings_its_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "q8.gguf").write_bytes(b"GGUF")
    assert fetch(find(tmp_path, gguf_file="q8.gguf"), ENGINE, tmp_path, None).gguf_tokenizer


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
        assert fetch(served(tmp_path, **options), SERVED, tmp_path, find(model)).tokenizer_folder == model
    with pytest.raises(ModelError, match="no tokenizer files in the server"):
        fetch(served(tmp_path, tokenizer="baseline"), SERVED, tmp_path, None)


def test_a_served_model_may_name_a_tokenizer(model: Path, tmp_path: Path) -> None:
    source = served(model.parent, tokenizer="./model")
    assert fetch(source, SERVED, model.parent, None).tokenizer_folder == model
    # a served baseline lends the one that it names, or none
    assert fetch(served(tmp_path), SERVED, model.parent, source).tokenizer_folder == model
    assert fetch(served(tmp_path), SERVED, model.parent, served(tmp_path)).tokenizer_folder is None


def test_a_baseline_without_tokenizer_has_none_to_lend(model: Path, tmp_path: Path) -> None:
    bare = without_tokenizer(model, tmp_path / "bare")
    with pytest.raises(ModelError, match="so that it has none to lend"):
        fetch(served(tmp_path), SERVED, tmp_path, find(bare))
