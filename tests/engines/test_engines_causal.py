"""Models that read later tokens, or have an encoder, are refused: their log-probabilities are no scores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.architectures import PACKED, build
from support.opened import open_model

from gate.engines.hf.model.causal import check_causal
from gate.errors import ModelError

BERT = {
    "vocab_size": 384,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.3,
}


@pytest.mark.parametrize(
    ("name", "settings"),
    [("bert", BERT), ("gemma3_text", PACKED["gemma3_text"] | {"use_bidirectional_attention": True})],
)
def test_a_model_whose_logits_depend_on_later_tokens_is_refused(
    tiny_model: Path, name: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(ModelError, match=r"is not a causal language model: the logits .* change by") as raised:
        check_causal(build(name, settings, tiny_model), "m")
    assert "is_decoder" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("bert", BERT | {"is_decoder": True}), ("llama", PACKED["llama"]), ("mixtral", PACKED["mixtral"])],
)
def test_causal_models_are_accepted(tiny_model: Path, name: str, settings: dict[str, Any]) -> None:
    check_causal(build(name, settings, tiny_model), "m")


def test_opening_a_masked_language_model_fails(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "bert"))
    build("bert", BERT, tiny_model).model.save_pretrained(folder)
    with pytest.raises(ModelError, match="BertLMHeadModel is not a causal language model"):
        open_model(folder)


def test_an_encoder_decoder_is_refused_before_it_is_loaded(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "bart"))
    (folder / "config.json").write_text(json.dumps({"model_type": "bart", "is_encoder_decoder": True}))
    with pytest.raises(ModelError, match=r"it is an encoder-decoder model \(model_type bart"):
        open_model(folder)
