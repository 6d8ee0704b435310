"""Loading: complete checkpoints in their number format, an error for anything else."""

from __future__ import annotations

import json
import logging
import math
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.opened import loglikelihoods, open_model, silent

from gate.config import EngineSettings, ModelSettings
from gate.engines import ModelSource, fetch, locate, open_engine
from gate.engines.devices import resolve_device
from gate.errors import EvaluationError, ExitCode, ModelError, TaskError
from gate.tasks import Message
from gate.tasks.requests import GenerateRequest

QUESTION = [("Q : What animal sees the cat ?", (" dog", " big fish"))]


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def change_weights(model: Path, change: Any) -> None:
    weights = load_file(model / "model.safetensors")
    change(weights)
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})


def change_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def test_the_runtime_records_device_hardware_dtype_and_versions(tiny_model: Path) -> None:
    runtime = open_model(tiny_model).runtime
    assert (runtime.device, runtime.dtype) == ("cpu", "float32")
    assert "CPU" in runtime.hardware
    assert runtime.versions["torch"] == version("torch")
    assert len(runtime.tokenizer) == 64


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_loads_and_scores_close_to_float32(tiny_model: Path, dtype: str) -> None:
    engine = open_model(tiny_model, dtype=dtype)
    assert engine.runtime.dtype == dtype
    half, full = loglikelihoods(engine, QUESTION), loglikelihoods(open_model(tiny_model), QUESTION)
    assert half[0] == pytest.approx(full[0], abs=0.5)
    assert half[0] != full[0]


def test_auto_is_the_checkpoints_own_dtype(model: Path) -> None:
    change_weights(model, lambda w: w.update({name: t.half() for name, t in w.items()}))
    change_json(model / "config.json", dtype="float16")
    assert open_model(model).runtime.dtype == "float16"
    assert open_model(model, dtype="float32").runtime.dtype == "float32"


def test_a_checkpoint_that_lacks_a_weight_is_an_error(model: Path) -> None:
    change_weights(model, lambda w: w.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(ModelError, match="lacks 1 weights") as caught:
        open_model(model)
    assert "model.layers.1.mlp.up_proj.weight" in caught.value.message
    assert caught.value.exit_code is ExitCode.USAGE


def test_a_weight_with_the_wrong_shape_is_an_error_that_names_it(model: Path) -> None:
    change_weights(model, lambda w: w.update({"model.norm.weight": torch.ones(16)}))
    with pytest.raises(ModelError, match=r"1 of another shape: model\.norm\.weight \(\(16,\) instead of \(32,\)\)"):
        open_model(model)


def test_a_config_that_does_not_fit_the_weights_is_an_error(model: Path) -> None:
    change_json(model / "config.json", hidden_size=64)
    with pytest.raises(ModelError, match=r"lacks 0 weights and has \d+ of another shape: (lm_head|model)\."):
        open_model(model)


@pytest.mark.parametrize("content", ["{", "{}", '{"model_type": "no-such-architecture"}', '{"model_type": "vit"}'])
def test_a_config_of_an_unknown_architecture_is_an_error(model: Path, content: str) -> None:
    (model / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=str(model)) as caught:
        open_model(model)
    assert caught.value.hint is not None


def test_an_encoder_decoder_is_an_error_without_the_list_of_all_architectures(model: Path) -> None:
    (model / "config.json").write_text('{"model_type": "t5"}', encoding="utf-8")
    with pytest.raises(ModelError, match=r"T5Config.* for this kind of AutoModel: AutoModelForCausalLM") as caught:
        open_model(model)
    assert " more" in caught.value.message
    assert len(caught.value.message) < 600


def test_an_invalid_gguf_file_is_an_error(model: Path) -> None:
    (model / "q4.gguf").write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(ModelError):
        open_model(model, gguf_file="q4.gguf", tokenizer=str(model))


def test_a_broken_tokenizer_is_an_error_that_names_its_folder(model: Path) -> None:
    (model / "tokenizer.json").write_text('{"model": 3}', encoding="utf-8")
    with pytest.raises(ModelError, match=r"the tokenizer in .* cannot be loaded"):
        open_model(model)


def test_nan_weights_give_nan_scores_and_an_error_in_generation(model: Path) -> None:
    change_weights(model, lambda w: w["model.norm.weight"].fill_(float("nan")))
    engine = open_model(model)
    assert all(math.isnan(value) for value in loglikelihoods(engine, QUESTION)[0])
    with pytest.raises(EvaluationError, match="not numbers") as caught:
        engine.generate_until([GenerateRequest("the cat", (), 4)], silent)
    assert caught.value.exit_code is ExitCode.EVALUATION


def test_pickle_is_loaded_if_it_is_allowed_and_there_is_no_safetensors_file(model: Path, tiny_model: Path) -> None:
    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    pickled = loglikelihoods(open_model(model, allow_pickle=True), QUESTION)
    assert pickled == loglikelihoods(open_model(tiny_model), QUESTION)


def test_pickle_is_ignored_if_there_is_a_safetensors_file(model: Path, tiny_model: Path) -> None:
    (model / "pytorch_model.bin").write_bytes(b"not even a pickle")
    allowed = loglikelihoods(open_model(model, allow_pickle=True), QUESTION)
    assert allowed == loglikelihoods(open_model(tiny_model), QUESTION)


def test_the_attention_implementation_is_passed_to_transformers(tiny_model: Path) -> None:
    eager = loglikelihoods(open_model(tiny_model, {"attn_implementation": "eager"}), QUESTION)
    assert eager[0] == pytest.approx(loglikelihoods(open_model(tiny_model), QUESTION)[0], abs=1e-4)
    with pytest.raises(ModelError):
        open_model(tiny_model, {"attn_implementation": "no-such-kernel"})


# the device


def test_device_cpu_is_the_cpu() -> None:
    assert resolve_device("cpu") == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_auto_is_the_cpu_on_a_machine_without_a_gpu() -> None:
    assert resolve_device("auto") == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "balanced"])
def test_a_missing_gpu_is_an_error_with_exit_code_4_and_both_remedies(tiny_model: Path, device: str) -> None:
    with pytest.raises(EvaluationError, match=f"engine.device is {device}, but no GPU is visible") as caught:
        open_model(tiny_model, {"device": device})
    assert caught.value.exit_code is ExitCode.EVALUATION
    message = str(caught.value)
    assert "'default-runtime': 'nvidia'" in message
    assert "options: --gpus all" in message


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_scores_like_the_cpu_and_a_gpu_index_out_of_range_is_an_error(tiny_model: Path) -> None:
    engine = open_model(tiny_model, {"device": "cuda"})
    assert engine.runtime.device == "cuda:0"
    on_cpu = loglikelihoods(open_model(tiny_model), QUESTION)
    assert loglikelihoods(engine, QUESTION)[0] == pytest.approx(on_cpu[0], abs=1e-3)
    with pytest.raises(EvaluationError, match=r"only \d+ GPU"):
        resolve_device("cuda:99")


# the tokenizer


def test_saving_a_tokenizer_again_does_not_change_its_digest(tiny_model: Path, model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer(["a", "b c"], padding=False, truncation=True, max_length=4)  # leaves state behind
    tokenizer.save_pretrained(model)
    assert open_model(model).runtime.tokenizer == open_model(tiny_model).runtime.tokenizer


@pytest.mark.parametrize("part", ["merges", "decoder", "added"])
def test_a_tokenizer_that_behaves_differently_has_another_digest(tiny_model: Path, model: Path, part: str) -> None:
    data = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    if part == "merges":
        data["model"]["merges"].pop()
    elif part == "decoder":
        data["decoder"] = None
    else:
        data["added_tokens"].append({**data["added_tokens"][0], "id": 2, "content": "!"})
    (model / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")
    assert open_model(model).runtime.tokenizer != open_model(tiny_model).runtime.tokenizer


def test_a_candidate_without_a_tokenizer_uses_the_baselines(tiny_model: Path, model: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (model / name).unlink()
    engine = EngineSettings(device="cpu")
    baseline, bare = (locate(ModelSettings(model=str(f)), f) for f in (tiny_model, model))
    candidate = open_engine(fetch(bare, engine, model, baseline), engine)
    own = open_model(tiny_model)
    assert candidate.runtime.tokenizer == own.runtime.tokenizer
    assert loglikelihoods(candidate, QUESTION) == loglikelihoods(own, QUESTION)


# chats


CHAT = (Message("system", "Be brief."), Message("user", "the cat?"))


def test_a_chat_is_rendered_by_the_tokenizers_template_with_a_generation_prompt(tiny_model: Path) -> None:
    text = open_model(tiny_model).render_chat(CHAT)
    assert text == "<s>system: Be brief.\n<s>user: the cat?\nassistant:"


def test_a_tokenizer_without_a_chat_template_is_a_task_error(model: Path) -> None:
    (model / "chat_template.jinja").unlink()
    with pytest.raises(TaskError, match="chat_template: true, but") as caught:
        open_model(model).render_chat(CHAT)
    assert "chat_template: false" in str(caught.value.hint)


def test_the_error_of_a_chat_template_is_reported(model: Path) -> None:
    template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}ok"
    (model / "chat_template.jinja").write_text(template, encoding="utf-8")
    engine = open_model(model)
    with pytest.raises(TaskError, match="cannot render the chat: no system role"):
        engine.render_chat(CHAT)
    assert engine.render_chat(CHAT[1:]) == "ok"


DATED = """
{%- set today = strftime_now("%d %b %Y") %}
{% if strftime_now is defined %}Today: {{ today }}{% endif %}, {{ strftime_now('%Y-%m-%dT%H:%M:%S %%d') }}, \
{{ strftime_now("%-m") | int + 1 }}
{% for m in messages %}{{ m['content'] }}{% endfor %}"""


def test_a_template_that_writes_the_date_writes_the_same_date_every_day(model: Path) -> None:
    (model / "chat_template.jinja").write_text(DATED.replace("\\\n", ""), encoding="utf-8")
    text = open_model(model).render_chat(CHAT[1:])
    assert text == "Today: 26 Jul 2024, 2024-07-26T00:00:00 %d, 8\nthe cat?"


def test_a_leading_line_break_of_a_dated_template_is_kept(model: Path) -> None:
    (model / "chat_template.jinja").write_text("\nIn {{ strftime_now('%Y') }}.", encoding="utf-8")
    assert open_model(model).render_chat(CHAT) == "\nIn 2024."


# code of the model repository

CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM

Path({marker!r}).touch()


class OurConfig(LlamaConfig):
    model_type = "our-llama"


class OurModel(LlamaForCausalLM):
    config_class = OurConfig

    def forward(self, input_ids=None, use_cache=None):  # without logits_to_keep, like older code
        return super().forward(input_ids=input_ids, use_cache=use_cache)
"""


def test_code_of_the_model_repository_runs_only_if_it_is_trusted(
    model: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers.dynamic_module_utils

    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    marker = tmp_path / "code-ran"
    (model / "ours.py").write_text(CODE.format(marker=str(marker)), encoding="utf-8")
    change_json(
        model / "config.json",
        model_type="our-llama",
        architectures=["OurModel"],
        auto_map={"AutoConfig": "ours.OurConfig", "AutoModelForCausalLM": "ours.OurModel"},
    )
    with pytest.raises(ModelError, match="trust_remote_code"):
        open_model(model)
    assert not marker.exists()
    trusted = open_model(model, {"trust_remote_code": True})
    assert marker.exists()
    own = loglikelihoods(open_model(tiny_model), QUESTION)
    assert loglikelihoods(trusted, QUESTION)[0] == pytest.approx(own[0], abs=1e-5)


def test_opening_a_model_logs_no_warnings(tiny_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="gate"):
        source = ModelSource(ModelSettings(model="tiny"), tiny_model, None, tiny_model)
        loglikelihoods(open_engine(source, EngineSettings(device="cpu")), QUESTION)
    assert caplog.messages == []
