"""Quantise one checkpoint with one tool; run by benchmarks/formats.py in the environment of that tool.

VENV/bin/python benchmarks/make_formats.py NAME BASE DEST
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TEXTS = (
    "The harbour was empty when the ferry came in, and nobody took the rope that the boy had thrown. ",
    "To repot a plant, water it first, lift it out with its soil, and cut away the roots that are brown. ",
    "Question: Which of these is a prime number? Answer: 91 is 7 times 13, so it must be 97. ",
    "In 1869 the canal was opened, and ships no longer had to sail around the Cape of Good Hope. ",
    "Water boils at a lower temperature on a mountain, because the air presses less on its surface. ",
    "The capital of France is Paris, the capital of Italy is Rome, and the capital of Spain is Madrid. ",
    "A spider has eight legs and an insect has six; neither of them has bones. ",
    "She said that she had not seen the film, but that the book's last chapter had made her laugh aloud. ",
)
"""For calibration."""


def load(base: Path, **options: Any) -> tuple[Any, Any]:
    """Return the model and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(base, dtype="bfloat16", **options), AutoTokenizer.from_pretrained(base)


def save(model: Any, tokenizer: Any, dest: Path, **options: Any) -> None:
    """Write both into a folder."""
    model.save_pretrained(dest, **options)
    tokenizer.save_pretrained(dest)


def compressed(scheme: Any) -> Callable[[Path, Path], None]:
    """Round to nearest with llm-compressor."""

    def make(base: Path, dest: Path) -> None:
        from llmcompressor import oneshot
        from llmcompressor.modifiers.quantization import QuantizationModifier

        kind = (
            {"config_groups": {"group_0": scheme}}
            if isinstance(scheme, dict)
            else {"scheme": scheme, "targets": "Linear"}
        )
        model, tokenizer = load(base)
        oneshot(model=model, recipe=QuantizationModifier(ignore=["lm_head"], **kind))
        save(model, tokenizer, dest, save_compressed=True)

    return make


def gptq(base: Path, dest: Path) -> None:
    """GPTQ with GPTQModel, 4 bits in groups of 64."""
    from gptqmodel import GPTQModel, QuantizeConfig

    model = GPTQModel.load(str(base), QuantizeConfig(bits=4, group_size=64))
    model.quantize([text * 4 for text in TEXTS], batch_size=1)
    model.save(str(dest))


def auto_round(layout: str, symmetric: bool = True) -> Callable[[Path, Path], None]:
    """4 bits in groups of 64, stored as `auto_round` or as `auto_awq`, which GPTQModel makes on GPUs only."""

    def make(base: Path, dest: Path) -> None:
        from auto_round import AutoRound

        model, tokenizer = load(base)
        rounder = AutoRound(
            model,
            tokenizer,
            scheme="W4A16",
            group_size=64,
            sym=symmetric,
            iters=0,  # round to nearest: quick
            nsamples=8,
            disable_opt_rtn=True,
            seqlen=64,
            device_map="cpu",
            dataset=_calibration(tokenizer),
        )
        rounder.quantize_and_save(str(dest / "within"), format=layout)  # it makes a folder of its own there
        for config in (dest / "within").rglob("config.json"):
            config.parent.rename(dest / "made")
        for file in (dest / "made").iterdir():
            file.rename(dest / file.name)

    return make


def _calibration(tokenizer: Any) -> Any:
    import torch

    ids = tokenizer("".join(TEXTS) * 8)["input_ids"]
    rows = [ids[start : start + 64] for start in range(0, 8 * 64, 64)]
    return torch.utils.data.DataLoader([{"input_ids": torch.tensor(row)} for row in rows], batch_size=4)


def bitsandbytes(after_forward: bool = False, **settings: Any) -> Callable[[Path, Path], None]:
    """Quantise on loading with bitsandbytes, and save."""

    def make(base: Path, dest: Path) -> None:
        import torch
        from transformers import BitsAndBytesConfig

        model, tokenizer = load(base, quantization_config=BitsAndBytesConfig(**settings), device_map={"": "cpu"})
        if after_forward:
            with torch.no_grad():
                model(**tokenizer(TEXTS[0], return_tensors="pt"))
        save(model, tokenizer, dest)

    return make


def torchao(name: str, bits: int | None = None) -> Callable[[Path, Path], None]:
    """Quantise on loading with torchao, and save; with `bits` in groups of 64."""

    def make(base: Path, dest: Path) -> None:
        import torch
        import torchao.quantization
        from torchao.quantization.granularity import PerGroup
        from transformers import TorchAoConfig

        settings = {} if bits is None else {"weight_dtype": getattr(torch, f"int{bits}"), "granularity": PerGroup(64)}
        kind = getattr(torchao.quantization, name)(**settings)
        save(*load(base, quantization_config=TorchAoConfig(kind), device_map={"": "cpu"}), dest)

    return make


def quanto(base: Path, dest: Path) -> None:
    from optimum.quanto import QuantizedModelForCausalLM, qint8

    model, tokenizer = load(base)
    save(QuantizedModelForCausalLM.quantize(model, weights=qint8, exclude="lm_head"), tokenizer, dest)


def hqq(base: Path, dest: Path) -> None:
    from hqq.core.quantize import BaseQuantizeConfig
    from hqq.models.hf.base import AutoHQQHFModel

    model, tokenizer = load(base)
    AutoHQQHFModel.quantize_model(
        model, quant_config=BaseQuantizeConfig(nbits=4, group_size=64), compute_dtype=model.dtype, device="cpu"
    )
    AutoHQQHFModel.save_quantized(model, str(dest))
    tokenizer.save_pretrained(dest)


def gguf(kind: str, fallback: str) -> Callable[[Path, Path], None]:
    """Quantise all matrices of a GGUF file with the kernels of llama.cpp.

    BASE is the file from which the baseline is made. Matrices whose rows are no multiple of 256 numbers get `fallback`,
    as in llama.cpp. (Its tool also mixes types: Q4_K_M has some matrices in Q6_K.)
    """

    def make(base: Path, dest: Path) -> None:
        import ctypes

        import numpy as np
        import xllamacpp
        from gguf import (
            GGML_QUANT_SIZES,
            GGMLQuantizationType,
            GGUFReader,
            GGUFWriter,
            dequantize,
            quant_shape_to_byte_shape,
        )

        library = ctypes.CDLL(str(next(Path(xllamacpp.__file__).parent.glob("*.so"))))
        library.ggml_quantize_chunk.restype = ctypes.c_size_t
        library.ggml_quantize_chunk.argtypes = [
            ctypes.c_int,
            *[ctypes.c_void_p] * 2,
            *[ctypes.c_int64] * 3,
            ctypes.c_void_p,
        ]
        reader = GGUFReader(base)
        dest.mkdir(parents=True)
        writer = GGUFWriter(dest / "model.gguf", reader.fields["general.architecture"].contents())
        for name, entry in reader.fields.items():
            if not name.startswith("GGUF.") and name not in ("general.architecture", "general.file_type"):
                writer.add_key_value(
                    name, entry.contents(), entry.types[0], entry.types[-1] if len(entry.types) > 1 else None
                )
        for tensor in reader.tensors:
            values = np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
            if values.ndim < 2:
                writer.add_tensor(tensor.name, values)
                continue
            chosen = GGMLQuantizationType[kind]
            if values.shape[1] % GGML_QUANT_SIZES[chosen][0]:
                chosen = GGMLQuantizationType[fallback]
            packed = np.zeros(quant_shape_to_byte_shape(values.shape, chosen), dtype=np.uint8)
            library.ggml_quantize_chunk(int(chosen), values.ctypes.data, packed.ctypes.data, 0, *values.shape, None)
            writer.add_tensor(tensor.name, packed, raw_dtype=chosen)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    return make


def lora(base: Path, dest: Path) -> None:
    """Write a LoRA adapter with small random weights."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    model, _ = load(base)
    adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=8, target_modules=["q_proj", "v_proj"]))
    for key, parameter in adapted.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.002)
    adapted.save_pretrained(dest)


_INT4 = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 64}
MAKERS: dict[str, Callable[[Path, Path], None]] = {
    "ct-w8a8": compressed("W8A8"),
    "ct-w4a16": compressed({"targets": ["Linear"], "weights": _INT4}),
    "ct-fp8": compressed("FP8_DYNAMIC"),
    "ct-nvfp4a16": compressed("NVFP4A16"),
    "gptq": gptq,
    "awq": auto_round("auto_awq", symmetric=False),
    "autoround": auto_round("auto_round"),
    "bnb-8bit": bitsandbytes(load_in_8bit=True),
    "bnb-nf4": bitsandbytes(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    "bnb-fp4": bitsandbytes(load_in_4bit=True, bnb_4bit_quant_type="fp4"),
    "bnb-nf4-used": bitsandbytes(after_forward=True, load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    "torchao-int8": torchao("Int8WeightOnlyConfig"),
    "torchao-float8": torchao("Float8WeightOnlyConfig"),
    "torchao-int4": torchao("IntxWeightOnlyConfig", 4),
    "quanto": quanto,
    "hqq": hqq,
    "gguf-q8_0": gguf("Q8_0", "Q8_0"),
    "gguf-q4_k": gguf("Q4_K", "Q5_0"),
    "gguf-q2_k": gguf("Q2_K", "IQ4_NL"),
    "lora": lora,
}


def main() -> None:
    name, base, dest = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    shutil.rmtree(dest, ignore_errors=True)
    MAKERS[name](base, dest)


if __name__ == "__main__":
    main()
