"""The `baseline`, `candidate` and `candidates` sections."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from gate.common.canonical import canonical_json
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
    load_in: Literal["8bit", "4bit"] | None = Field(
        None,
        description="Quantise the weights with bitsandbytes on loading: 8bit (LLM.int8) or 4bit (NF4).",
    )
    quantization_config: dict[str, Any] | None = Field(
        None,
        min_length=1,
        description="Quantise the weights on loading, by the configuration of any method of transformers, e.g. "
        "{quant_method: torchao, quant_type: Int8WeightOnlyConfig}.",
    )
    adapter: str | None = Field(
        None, min_length=1, description="PEFT adapter (LoRA) on top of the model: a folder, or a name on the hub."
    )
    allow_pickle: bool = Field(
        False,
        description="Load pickled weights (.bin, .pt), which can run code, if there are no safetensors files.",
    )
    engine: EngineOverride | None = Field(None, description="Engine settings for this model only.")

    @model_validator(mode="after")
    def _consistent(self) -> ModelSettings:
        if self.load_in is not None and self.quantization_config is not None:
            raise ValueError("load_in and quantization_config exclude each other")
        if self.gguf_file is not None and (self.load_in is not None or self.quantization_config is not None):
            raise ValueError("a GGUF file is quantised already: remove load_in and quantization_config")
        return self

    @property
    def load_quantization(self) -> str:
        """The quantisation on loading as text; empty if the weights are loaded as they are stored."""
        if self.load_in is not None:
            return f"load_in {self.load_in}"
        return "" if self.quantization_config is None else canonical_json(self.quantization_config)

    @property
    def changes_on_load(self) -> list[str]:
        """The keys that are set of those that change the weights on loading."""
        return [name for name in ("load_in", "quantization_config", "adapter") if getattr(self, name) is not None]


class CandidateSettings(ModelSettings):
    """One of several candidates: the settings of a model, and a name for reports, file names and the history."""

    name: CandidateName = Field(
        description="Name in reports, file names and the history: letters and digits, separated by single . _ -",
    )
