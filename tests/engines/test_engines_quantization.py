"""Quantised checkpoints: tensors that change the numbers are never dropped, and the result says what was loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.opened import loglikelihoods, open_model

from gate.engines.hf.engine import TransformersEngine
from gate.engines.quantization import check_declared_method
from gate.errors import ExitCode, ModelError

QUESTION = [("Q : What animal sees the cat ?", (" dog", " big fish"))]
LAYER = "model.layers.0.mlp.up_proj"
Weights = dict[str, torch.Tensor]


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def add_tensors(model: Path, **tensors: torch.Tensor) -> None:
    """Add tensors to a checkpoint; `__` in a name stands for a dot."""
    weights = load_file(model / "model.safetensors")
    weights |= {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})


def change_config(model: Path, **values: Any) -> None:
    path = model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def quantise_per_tensor(model: Path, scale: str = "_scale", extra: str = "input_scale") -> int:
    """Store the linear layers in float8 with one scale each, as ModelOpt does; return the number of scales."""
    weights, changed = load_file(model / "model.safetensors"), {}
    for name, value in weights.items():
        if ".layers." in name and value.ndim == 2:
            largest = value.abs().max() / 448.0
            changed |= {name: (value / largest).to(torch.float8_e4m3fn), name + scale: largest}
            changed[name.removesuffix("weight") + extra] = torch.tensor(0.01)
    save_file(weights | changed, model / "model.safetensors", metadata={"format": "pt"})
    return 2 * sum(name.endswith(extra) for name in changed)


def quantise_blocks(model: Path, block: int = 16) -> None:
    """Store the linear layers in float8 with one scale per block, the `fp8` format of transformers."""
    weights, changed = load_file(model / "model.safetensors"), {}
    for name, value in weights.items():
        if ".layers." in name and value.ndim == 2:
            rows, columns = value.shape
            blocks = value.reshape(rows // block, block, columns // block, block)
            scale = blocks.abs().amax((1, 3), keepdim=True) / 448.0
            changed[name] = (blocks / scale).reshape(rows, columns).to(torch.float8_e4m3fn)
            changed[name + "_scale_inv"] = scale[:, 0, :, 0]
    rest = {name: value.bfloat16() for name, value in weights.items() if name not in changed}
    save_file(rest | changed, model / "model.safetensors", metadata={"format": "pt"})
    method = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [block, block]}
    change_config(model, quantization_config=method, dtype="bfloat16")


# methods that transformers does not apply


@pytest.mark.parametrize("declared", ["config.json", "hf_quant_config.json"])
def test_modelopt_scales_are_refused_with_method_count_names_and_next_step(model: Path, declared: str) -> None:
    scales = quantise_per_tensor(model)
    if declared == "config.json":
        change_config(model, quantization_config={"quant_method": "modelopt", "quant_algo": "FP8"})
    else:
        (model / declared).write_text(
            json.dumps({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}})
        )
    with pytest.raises(ModelError, match=rf"(?i)modelopt FP8 \({declared}\)") as caught:
        open_model(model)
    assert f"{scales} quantisation parameters" in caught.value.message
    assert "model.layers.0.mlp.down_proj.input_scale" in caught.value.message
    assert "kind: served" in str(caught.value.hint)
    assert caught.value.exit_code is ExitCode.USAGE


def test_scales_that_no_file_declares_are_refused_too(model: Path) -> None:
    scales = quantise_per_tensor(model)
    with pytest.raises(ModelError, match=f"{scales} quantisation parameters that transformers") as caught:
        open_model(model)
    assert "no file names a quantisation method" in caught.value.message


def test_the_same_weights_with_their_scales_applied_are_loaded(model: Path, tiny_model: Path) -> None:
    quantise_per_tensor(model)
    change_config(model, quantization_config={"quant_method": "modelopt", "quant_algo": "FP8"})
    weights = load_file(model / "model.safetensors")
    plain = {name: value for name, value in weights.items() if not name.endswith("_scale")}
    for name, value in plain.items():
        if value.dtype is torch.float8_e4m3fn:
            plain[name] = value.float() * weights[name + "_scale"]
    save_file(plain, model / "model.safetensors", metadata={"format": "pt"})
    engine = open_model(model)  # the declaration in config.json is stale
    assert engine.runtime.quantization == "none"
    own = loglikelihoods(open_model(tiny_model), QUESTION)
    assert loglikelihoods(engine, QUESTION)[0] == pytest.approx(own[0], abs=0.5)


def test_a_folder_of_optimum_quanto_is_refused_by_name(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    value = weights.pop(f"{LAYER}.weight")
    weights[f"{LAYER}.weight._data"] = value.to(torch.int8)
    weights[f"{LAYER}.weight._scale"] = torch.ones(len(value), 1)
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    (model / "quanto_qmap.json").write_text(json.dumps({LAYER: {"weights": "qint8", "activations": "none"}}))
    with pytest.raises(ModelError, match=r"optimum-quanto \(quanto_qmap\.json\)") as caught:
        open_model(model)
    assert "quant_method: quanto" in str(caught.value.hint)


@pytest.mark.parametrize(("shape", "refused"), [((32,), False), ((4, 8), True)])
def test_4_bit_weights_in_the_layout_of_a_cpu_are_refused(model: Path, shape: tuple[int, ...], refused: bool) -> None:
    change_config(model, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    add_tensors(model, **{f"{LAYER}.weight.absmax".replace(".", "__"): torch.ones(shape)})
    files = [model / "model.safetensors"]
    if not refused:
        check_declared_method(model, "org/model", files)
        return
    with pytest.raises(ModelError, match=rf"1 of its 4-bit weights .* on a CPU, .*{LAYER}\.weight\.absmax") as caught:
        check_declared_method(model, "org/model", files)
    assert "saved after a forward pass on a CPU" in str(caught.value.hint)


def test_a_folder_of_hqq_is_refused_by_name_and_not_as_pickled(model: Path) -> None:
    (model / "model.safetensors").rename(model / "qmodel.pt")  # its contents do not matter: it is not opened
    with pytest.raises(ModelError, match=r"HQQ \(qmodel\.pt\), which transformers .* does not apply") as caught:
        open_model(model)
    assert "kind: openai" in str(caught.value.hint)


def test_a_method_that_no_transformers_knows_is_refused_before_the_weights_are_loaded(model: Path) -> None:
    change_config(model, quantization_config={"quant_method": "newest", "bits": 3})
    add_tensors(model, **{f"{LAYER}__scales".replace(".", "__"): torch.full((2,), 0.5)})
    with pytest.raises(ModelError, match=r"newest \(config\.json\), which transformers \d"):
        open_model(model)


def test_packed_weights_without_a_method_are_named_and_not_only_missing(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    del weights[f"{LAYER}.weight"]
    weights |= {f"{LAYER}.qweight": torch.ones(4, 64, dtype=torch.int32), f"{LAYER}.scales": torch.full((1, 64), 0.1)}
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"2 quantisation parameters .*{LAYER}\.qweight"):
        open_model(model)


def test_whole_numbers_without_a_method_are_no_weights(model: Path) -> None:
    add_tensors(model, **{f"{LAYER}.weight".replace(".", "__"): torch.ones(64, 32, dtype=torch.int8)})
    with pytest.raises(ModelError, match="1 weights are integers"):
        open_model(model)


# tensors beside the model's own


def refused(message: str, **tensors: torch.Tensor) -> tuple[str, Weights]:
    return message, tensors


@pytest.mark.parametrize(
    ("message", "tensors"),
    [
        refused("1 quantisation parameter ", model__layers__0__self_attn__k_scale=torch.tensor(0.5)),
        refused("1 quantisation parameter ", model__layers__0__mlp__act__scales=torch.full((64,), 2.0)),
        refused("1 quantisation parameter ", language_model__layers__0__mlp__weight_scale=torch.tensor(0.5)),
        refused("1 tensors that Llama", model__layers__0__self_attn__q_norm__weight=torch.ones(8)),
        refused("1 tensors that Llama", model__layers__0__self_attn__q_proj__bias=torch.ones(32)),
        refused("1 tensors that Llama", model__layers__2__mlp__up_proj__weight=torch.ones(64, 32)),
        refused("1 tensors that Llama", model__embed_positions__weight=torch.ones(64, 32)),
        refused("1 tensors that Llama", lm_head__bias=torch.ones(384)),
        refused("1 tensors that Llama", final_logits_bias=torch.ones(384)),
    ],
)
def test_a_tensor_that_would_change_the_numbers_is_refused(model: Path, message: str, tensors: Weights) -> None:
    add_tensors(model, **tensors)
    with pytest.raises(ModelError, match=message) as caught:
        open_model(model)
    assert next(iter(tensors)).replace("__", ".") in caught.value.message


@pytest.mark.parametrize(
    "tensors",
    [
        {"model__layers__0__self_attn__rotary_emb__inv_freq": torch.ones(4)},
        {"model__layers__0__self_attn__causal_mask": torch.ones(1, 1, 8, 8)},
        {"model__layers__0__self_attn__masked_bias": torch.tensor(-1e9)},
        {"model__layers__0__self_attn__bias": torch.ones(1, 1, 8, 8).tril()},
        {"model__layers__0__self_attn__q_proj__bias": torch.zeros(32)},
        {"model__layers__0__self_attn__k_scale": torch.tensor(1.0)},
        {"model__visual__blocks__0__attn__qkv__weight_scale": torch.tensor(0.5)},
        {"vision_tower__encoder__layers__0__mlp__fc1__weight": torch.ones(4, 4)},
        {"multi_modal_projector__linear_1__weight": torch.ones(4, 4)},
        {"mtp__layers__0__mlp__up_proj__weight": torch.ones(4, 4)},
        {"v_head__summary__weight": torch.ones(1, 32)},
    ],
)
def test_a_tensor_that_changes_nothing_is_allowed(model: Path, tiny_model: Path, tensors: Weights) -> None:
    add_tensors(model, **tensors)
    assert loglikelihoods(open_model(model), QUESTION) == loglikelihoods(open_model(tiny_model), QUESTION)


def test_a_declared_layer_that_predicts_further_tokens_is_allowed(model: Path) -> None:
    add_tensors(model, model__layers__2__mlp__up_proj__weight=torch.ones(64, 32))
    change_config(model, num_nextn_predict_layers=1)
    open_model(model)


# what was loaded


def test_a_model_without_quantisation_says_so(tiny_model: Path) -> None:
    assert open_model(tiny_model).runtime.quantization == "none"


@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16", "float16"])
def test_fp8_blocks_are_dequantised_to_the_dtype_asked_for(model: Path, tiny_model: Path, dtype: str) -> None:
    quantise_blocks(model)
    engine = open_model(model, dtype=dtype)
    assert engine.runtime.dtype == ("bfloat16" if dtype == "auto" else dtype)
    own = loglikelihoods(open_model(tiny_model), QUESTION)
    got = loglikelihoods(engine, QUESTION)
    assert got[0] == pytest.approx(own[0], abs=0.7)
    if torch.cuda.is_available():
        return
    assert engine.runtime.quantization == "fp8 dequantised"


def test_layers_of_another_number_format_are_an_error_that_names_the_key(tiny_model: Path) -> None:
    engine = open_model(tiny_model)
    assert isinstance(engine, TransformersEngine)
    engine.scorer.loaded.model.model.layers[1].mlp.bfloat16()  # as a quantisation that computes in bfloat16 does
    with pytest.raises(ModelError, match=r"do not compute in auto: .*same dtype") as caught:
        loglikelihoods(engine, QUESTION)
    assert "dtype: bfloat16" in str(caught.value.hint)
