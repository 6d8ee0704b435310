"""The manifest of a sample set: what the set is, and the hashes that prove it whole."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Shard(_Part):
    """One Parquet file of a set."""

    file: str = Field(pattern=r"^shard-\d{5}\.parquet$")
    rows: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ModelRecord(_Part):
    """Which model answered (identity) and what it ran on."""

    name: str
    revision: str | None
    weights: str
    tokenizer: str
    dtype: str
    engine: str
    fingerprint: str
    device: str
    hardware: str
    loaded_dtype: str
    loaded_tokenizer: str
    """SHA-256 of the loaded tokenizer's behaviour."""
    end_tokens: list[int]
    """Ids that end a generated text."""
    versions: dict[str, str]


class Timings(_Part):
    """How long the set took: seconds of wall time, and tokens."""

    seconds: float
    items_per_second: float
    tokens_in: int
    tokens_out: int


class Manifest(_Part):
    """Everything about a sample set but its rows; written last, so that its presence means: complete."""

    schema_version: int
    task: str
    metric: str
    items: int
    rows: int
    shards: list[Shard]
    task_fingerprint: str
    facets: dict[str, str]
    model: ModelRecord
    reference: str | None
    """Fingerprint of the model that KL divergence was measured against."""
    timings: Timings
    created: str
    quantgate: str
