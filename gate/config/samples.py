"""The `samples` section."""

from __future__ import annotations

from pydantic import Field, model_validator

from gate.config.section import Section


class SampleSettings(Section):
    """How many samples are evaluated, and where they are stored."""

    store: str = Field(
        ".gate",
        min_length=1,
        description="The sample store: a folder, or an s3://, gs:// or hf:// URL (through fsspec).",
    )
    limit: int | None = Field(None, ge=1, description="Use only the first N documents of each task.")
    repeats: int = Field(
        1,
        ge=1,
        le=100,
        description="Number of answers per item of generate_until tasks; `sampling.repeats` of a task overrides it.",
    )
    temperature: float = Field(
        0.0, ge=0, le=10, description="Sampling temperature of generate_until tasks; 0 is greedy. See also `sampling`."
    )
    seed: int = Field(0, ge=0, description="Seed of all random numbers.")

    @model_validator(mode="after")
    def _consistent(self) -> SampleSettings:
        if self.repeats > 1 and self.temperature == 0:
            raise ValueError("repeats need a temperature above 0: greedy answers are the same every time")
        return self
