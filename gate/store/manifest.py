"""The manifest of a sample set: what the set is, and the hashes of its data files."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gate.config.tasks import TASK_NAME

MANIFEST = "manifest.json"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


class DataFile(_Section):
    """One Parquet file of a set."""

    file: str = Field(pattern=r"^shard-\d{5}\.parquet$")
    rows: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ModelRecord(_Section):
    """The identity of the model, and what it ran on."""

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
    """Token ids that end a generated text."""
    versions: dict[str, str]
    stack: dict[str, str] = Field(default_factory=dict)
    """See `gate.engines.stack`; empty in sets of older versions."""
    control: str = ""
    """Set for a control run of the baseline; see `gate.app.control`."""
    load_quantization: str = ""
    """Quantisation on loading that gate.yml asked for; see `gate.engines.base.ModelIdentity`."""
    adapter: str = ""
    """Identity of the PEFT adapter; empty without one."""
    weights_bytes: int | None = Field(default=None, ge=0, lt=2**63)
    """Size of the weights on disk; None if unknown."""
    quantization: str | None = None
    """Quantisation of the loaded weights, or `none`; None if unknown, and in sets of older versions."""


class Timings(_Section):
    """Seconds of work and tokens, summed over all runs and machines that produced the set."""

    seconds: float
    items_per_second: float
    tokens_in: int
    tokens_out: int
    peak_memory: int | None = None
    """Most bytes in use, on a GPU or in the process; of the last run."""


class Shard(_Section):
    """The slice of a task's items that a set holds: items index, index + of, index + 2 of, ... (counted from 1)."""

    index: int = Field(ge=1)
    of: int = Field(ge=1, le=100_000)
    items: int = Field(ge=0, le=1_000_000_000)
    """Number of items of the whole task."""
    items_per_data_file: int = Field(ge=1, alias="shard_items")
    """Items in each data file of the whole set."""

    @property
    def positions(self) -> range:
        """0-based positions of the shard's items in the whole task."""
        return range(self.index - 1, self.items, self.of)

    def __str__(self) -> str:
        return f"shard {self.index} of {self.of}"


class Manifest(_Section):
    """Everything about a sample set but its rows. It is written last: a set with a manifest is complete."""

    schema_version: int
    task: str = Field(pattern=TASK_NAME)
    metric: str
    items: int = Field(ge=0)
    rows: int = Field(ge=0)
    data_files: list[DataFile] = Field(alias="shards")
    task_fingerprint: str
    facets: dict[str, str]
    model: ModelRecord
    reference: str | None
    """Fingerprint of the model that KL divergence was measured from."""
    timings: Timings
    created: str
    quantgate: str
    shard: Shard | None = Field(default=None, alias="part")
    """Set if the set must be merged with other shards before it can be compared."""
    top_tokens: int | Literal["whole"] = 0
    """Number of likeliest tokens stored of each distribution; 0 for no distributions."""
    settings: str | None = None
    """SHA-256 of everything that the rows depend on; see `gate.evaluation.plan`."""
    stopped_of: int | None = Field(default=None, ge=1)
    """Number of items of the whole task if the evaluation was stopped early on purpose."""
    drawn_tokens: int = 0
    """Number of tokens drawn from the rest of each distribution; 0 in sets of older versions."""
    positions: int = 1
    """Most positions per answer with a distribution."""
    texts: int | None = None
    """Number of generated texts with distributions, a random sample; None if all answers have one."""
