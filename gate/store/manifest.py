"""The manifest of a sample set: what the set is, and the hashes that prove it whole."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class DataFile(_Record):
    """One Parquet file of a set."""

    file: str = Field(pattern=r"^shard-\d{5}\.parquet$")
    rows: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ModelRecord(_Record):
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


class Timings(_Record):
    """What the set took: seconds of work, over all runs and machines that it took part in, and tokens."""

    seconds: float
    items_per_second: float
    tokens_in: int
    tokens_out: int


class Shard(_Record):
    """Which shard of a task's items a set holds: items index, index + of, index + 2 of, ... (counted from 1)."""

    index: int = Field(ge=1)
    of: int = Field(ge=1)
    items: int = Field(ge=0)
    """Number of items of the whole task."""
    items_per_data_file: int = Field(ge=1, validation_alias="shard_items", serialization_alias="shard_items")
    """Items in each data file of the whole set."""

    def __str__(self) -> str:
        return f"shard {self.index} of {self.of}"


class Manifest(_Record):
    """Everything about a sample set but its rows; written last, so that its presence means: complete."""

    schema_version: int
    task: str
    metric: str
    items: int
    rows: int
    data_files: list[DataFile] = Field(validation_alias="shards", serialization_alias="shards")
    task_fingerprint: str
    facets: dict[str, str]
    model: ModelRecord
    reference: str | None
    """Fingerprint of the model that KL divergence was measured against."""
    timings: Timings
    created: str
    quantgate: str
    shard: Shard | None = Field(default=None, validation_alias="part", serialization_alias="part")
    """Set where other shards are to be merged with this one before it can be compared."""
    top_tokens: int | Literal["whole"] = 0
    """Tokens of each distribution that were asked for; 0 where none were."""
    settings: str | None = None
    """SHA-256 of everything that the rows depend on; see `gate.evaluation.evaluate`."""
    stopped_of: int | None = None
    """Number of items of the whole task, where the evaluation was stopped early on purpose."""
