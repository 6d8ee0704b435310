"""Weights that gate.yml changes on loading: quantisation by bitsandbytes or torchao, and PEFT adapters."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.opened import loglikelihoods, open_model
from support.tiny import write_tiny_model

from gate.config import EngineSettings, ModelSettings
from gate.engines import identify, locate
from gate.errors import ModelError

QUESTION = [("Q : What animal sees the cat ?", (" dog", " big fish"))]
INT8 = {"quant_method": "torchao", "quant_type": "Int8WeightOnlyConfig"}
needs_torchao = pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="needs torchao")
needs_peft = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="needs peft")
has_bitsandbytes = importlib.util.find_spec("bitsandbytes") is not None


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def write_adapter(folder: Path, rank: int = 4, scale: float = 0.05, prefix: str = "base_model.model.") -> Path:
    """Write a LoRA adapter for the query projections of the tiny model, in peft's format, without peft."""
    folder.mkdir()
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 2 * rank}
    config |= {"target_modules": ["q_proj"], "base_model_name_or_path": "tiny", "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for layer in range(2):
        name = f"{prefix}model.layers.{layer}.self_attn.q_proj"
        tensors[f"{name}.lora_A.weight"] = torch.randn(rank, 32, generator=generator) * scale
        tensors[f"{name}.lora_B.weight"] = torch.randn(32, rank, generator=generator)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


def fingerprint(folder: Path, **settings: Any) -> str:
    engine = EngineSettings(device="cpu")
    source = locate(ModelSettings(model=str(folder), **settings), folder, engine)
    return identify(source, engine, folder).fingerprint


# quantisation


@needs_torchao
def test_torchao_quantises_on_loading_and_the_runtime_says_so(tiny_model: Path) -> None:
    engine = open_model(tiny_model, quantization_config=INT8)
    assert engine.runtime.quantization == "torchao Int8WeightOnly"
    got, own = loglikelihoods(engine, QUESTION)[0], loglikelihoods(open_model(tiny_model), QUESTION)[0]
    assert got != own
    assert got == pytest.approx(own, abs=0.5)


@pytest.mark.skipif(not has_bitsandbytes, reason="needs bitsandbytes")
@pytest.mark.parametrize(("load_in", "found"), [("8bit", "bitsandbytes 8-bit"), ("4bit", "bitsandbytes nf4")])
def test_bitsandbytes_quantises_on_loading_and_the_runtime_says_so(tmp_path: Path, load_in: str, found: str) -> None:
    model = write_tiny_model(tmp_path / "model", width=64)  # its 4-bit kernel needs blocks of 64
    engine = open_model(model, load_in=load_in)
    assert engine.runtime.quantization == found
    got, own = loglikelihoods(engine, QUESTION)[0], loglikelihoods(open_model(model), QUESTION)[0]
    assert got != own
    assert got == pytest.approx(own, abs=3.0)


@pytest.mark.skipif(has_bitsandbytes, reason="bitsandbytes is installed")
def test_a_missing_package_is_named(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="needs a package that is not installed") as caught:
        open_model(tiny_model, load_in="8bit")
    assert "bitsandbytes" in str(caught.value)


@pytest.mark.parametrize("value", [{"quant_method": "newest"}, {"bits": 4}, {**INT8, "quant_type": "NoSuchConfig"}])
def test_an_invalid_quantization_config_is_an_error(tiny_model: Path, value: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="quantization_config is not valid"):
        open_model(tiny_model, quantization_config=value)


def test_a_quantised_checkpoint_is_not_quantised_again(model: Path) -> None:
    path = model / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"quantization_config": {"quant_method": "fp8"}}
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match=r"load_in is set, but the checkpoint is quantised already: fp8"):
        open_model(model, load_in="8bit")


def test_quantisation_and_adapter_are_part_of_the_fingerprint(tiny_model: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    other = write_adapter(tmp_path / "other", scale=0.1)
    settings: list[dict[str, Any]] = [
        {},
        {"load_in": "8bit"},
        {"load_in": "4bit"},
        {"quantization_config": INT8},
        {"adapter": str(adapter)},
        {"adapter": str(other)},
    ]
    assert len({fingerprint(tiny_model, **each) for each in settings}) == len(settings)
    shutil.copytree(adapter, tmp_path / "copy")
    assert fingerprint(tiny_model, adapter=str(adapter)) == fingerprint(tiny_model, adapter=str(tmp_path / "copy"))


@pytest.mark.parametrize("key", ["load_in", "quantization_config", "adapter"])
@pytest.mark.parametrize("kind", ["openai", "served"])
def test_a_server_changes_no_weights_on_loading(tiny_model: Path, key: str, kind: str) -> None:
    values: dict[str, Any] = {"load_in": "8bit", "quantization_config": INT8, "adapter": "somewhere"}
    options = {"base_url": "http://localhost:1/v1"} if kind == "openai" else {"preset": "vllm"}
    with pytest.raises(ModelError, match=f"{key}: only `engine: {{kind: transformers}}` .* not {kind}"):
        locate(
            ModelSettings(model=str(tiny_model), **{key: values[key]}), tiny_model, EngineSettings(kind=kind, **options)
        )


# adapters


@needs_peft
def test_an_adapter_changes_the_scores_as_its_merged_weights_do(model: Path, tiny_model: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    applied = loglikelihoods(open_model(tiny_model, adapter=str(adapter)), QUESTION)[0]
    weights, lora = load_file(model / "model.safetensors"), load_file(adapter / "adapter_model.safetensors")
    for layer in range(2):
        name = f"model.layers.{layer}.self_attn.q_proj"
        a, b = (lora[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
        weights[f"{name}.weight"] += 2.0 * b @ a  # lora_alpha / r
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    assert applied == pytest.approx(loglikelihoods(open_model(model), QUESTION)[0], abs=1e-4)
    assert applied != pytest.approx(loglikelihoods(open_model(tiny_model), QUESTION)[0], abs=1e-2)


@needs_peft
@pytest.mark.parametrize("change", ["shape", "missing", "unknown"])
def test_an_adapter_that_does_not_fit_is_an_error(tiny_model: Path, tmp_path: Path, change: str) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    name = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"
    tensor = tensors.pop(name)
    if change == "shape":
        tensors[name] = tensor[:, :16].contiguous()
    elif change == "unknown":
        tensors[name] = tensor
        tensors[name.replace("layers.1", "layers.7")] = tensor.clone()
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"the adapter .* (does not fit|cannot be loaded)"):
        open_model(tiny_model, adapter=str(adapter))


@pytest.mark.skipif(importlib.util.find_spec("peft") is not None, reason="peft is installed")
def test_an_adapter_without_peft_names_the_package(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="needs a package that is not installed") as caught:
        open_model(tiny_model, adapter=str(write_adapter(tmp_path / "adapter")))
    assert caught.value.hint == "pip install peft"


def test_a_folder_without_an_adapter_is_an_error(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no adapter_config\.json in"):
        open_model(tiny_model, adapter=str(tiny_model))
    adapter = write_adapter(tmp_path / "adapter")
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(ModelError, match="only pickled weights"):
        open_model(tiny_model, adapter=str(adapter))


def test_a_model_and_an_adapter_in_one_folder_are_refused(model: Path, tmp_path: Path) -> None:
    shutil.copytree(write_adapter(tmp_path / "adapter"), model, dirs_exist_ok=True)
    with pytest.raises(ModelError, match="holds a model and a PEFT adapter"):
        open_model(model)


def test_an_adapter_alone_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json in") as caught:
        open_model(write_adapter(tmp_path / "adapter"))
    assert "`adapter:` for this folder" in str(caught.value.hint)
