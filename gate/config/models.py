"""The `baseline`, `candidate` and `candidates` sections."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gate.config.engine import EngineOverride
from gate.config.section import CandidateName, Section


class ModelSettings(Section):
    """One model: its weights, tokenizer and number format."""

    model: str = Field(min_length=1, description="A folder, or a model name on the Hugging Face hub.")
    revision: str | None = Field(None, description="Revision on the hub: preferably a commit, else a tag or branch.")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="Number format of the weights; auto keeps the format of the checkpoint."
    )
    gguf_file: str | None = Field(None, description="Name of a GGUF file in the model folder.")
    tokenizer: str | None = Field(
        None,
        description="Source of the tokenizer: a folder, a name on the hub, or `baseline`; null takes the model's own.",
    )
    allow_pickle: bool = Field(
        False,
        description="Load pickled weights (.bin, .pt), which can run code, if there are no safetensors files.",
    )
    engine: EngineOverride | None = Field(None, description="Engine settings for this model only.")


class CandidateSettings(ModelSettings):
    """One of several candidates: the settings of a model, and a name for reports, file names and the history."""

    name: CandidateName = Field(
        description="Name in reports, file names and the history: letters and digits, separated by single . _ -",
    )
