"""A tokenizer whose normalizer multiplies text is refused before memory is taken; honest ones are not."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.opened import open_model
from tokenizers import Tokenizer, models, normalizers

from gate.engines.tokens.growth import MOST_GROWTH, estimated_growth
from gate.errors import ModelError


def replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(steps)}


TEN_FOLD = [replace({"String": "a"}, "a" * 10)] * 9
CHARSMAP = base64.b64encode((4).to_bytes(4, "little") + b"trie" + b"x" * 5000 + b"\0y\0").decode()
SPECIAL = {"id": "<s>", "ids": [0] * 500, "tokens": ["<s>"] * 500}


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("normalizer", sequence(*TEN_FOLD)),
        ("normalizer", sequence(sequence(*TEN_FOLD[:4]), sequence(*TEN_FOLD[:4]))),
        ("normalizer", replace({"Regex": ""}, "x" * 5000)),
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": CHARSMAP}),
        ("decoder", {"type": "Sequence", "decoders": TEN_FOLD}),
        (
            "post_processor",
            {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}] * 100,
                "pair": [],
                "special_tokens": {"<s>": SPECIAL},
            },
        ),
    ],
    ids=["chain", "nested", "regex", "charsmap", "decoder", "post-processor"],
)
def test_a_tokenizer_that_multiplies_text_is_refused(
    tiny_model: Path, tmp_path: Path, part: str, value: dict[str, Any]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), part: value}))
    with pytest.raises(ModelError, match=rf"the {part} in .*expected at most"):
        open_model(folder)


@pytest.mark.parametrize(
    "normalizer",
    [
        normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.StripAccents()]),
        normalizers.BertNormalizer(),
        normalizers.Sequence([normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD()]),
    ],
)
def test_usual_normalizers_are_accepted_and_the_estimate_is_a_bound(normalizer: normalizers.Normalizer) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizer
    growth = estimated_growth(json.loads(tokenizer.to_str())["normalizer"])
    assert growth < MOST_GROWTH
    for character in ("a", " ", "ﷺ", "中", "é", "'"):
        text = character * 100
        assert len(normalizer.normalize_str(text).encode()) <= growth * len(text.encode())


def test_a_chain_grows_as_estimated() -> None:
    chain = normalizers.Sequence([normalizers.Replace("a", "aa"), normalizers.Replace("a", "aaa")])
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = chain
    growth = estimated_growth(json.loads(tokenizer.to_str())["normalizer"])
    assert growth == 6
    assert len(chain.normalize_str("a" * 100)) == 600
