"""Decoding ignores a checkpoint's generation_config.json except for its end tokens, which are recorded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from gate.config import EngineSettings, ModelSettings
from gate.engines import Engine, fetch, locate, open_engine
from gate.tasks.requests import GenerateRequest


def open_checkpoint(folder: Path) -> Engine:
    settings = EngineSettings(device="cpu")
    source = fetch(locate(ModelSettings(model=str(folder)), folder), settings, folder, None)
    return open_engine(source, settings)


def texts(engine: Engine) -> list[str]:
    requests = [GenerateRequest(f"the {word} is", (), 24) for word in ("cat", "dog", "bird")]
    return [answer.text for answer in engine.generate_until(requests, lambda _: None)]


def test_penalties_and_beams_of_the_checkpoint_do_not_change_the_text(tiny_model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    path = other / "generation_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"repetition_penalty": 5.0, "num_beams": 3, "no_repeat_ngram_size": 1}))
    assert texts(open_checkpoint(other)) == texts(open_checkpoint(tiny_model))


def test_the_end_tokens_are_recorded(tiny_model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    path = other / "generation_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"eos_token_id": [1, 7]}))
    assert open_checkpoint(tiny_model).runtime.end_tokens == (1,)
    assert open_checkpoint(other).runtime.end_tokens == (1, 7)
