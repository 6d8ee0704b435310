"""One answered item as a row, and the rows of a task as a table: what every reader of samples returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

SCHEMA_VERSION = 1

SAMPLE_SCHEMA = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),  # SHA-256 of the canonical document
        pa.field("repeat", pa.int32(), nullable=False),
        pa.field("prompt_hash", pa.string()),  # SHA-256 of the text that the model was given
        pa.field("metric", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("correct", pa.bool_()),  # null where the score is not binary
        pa.field("output", pa.string()),  # generated text, or index of the chosen choice
        pa.field("target", pa.string()),
        pa.field("choice_logprobs", pa.list_(pa.float32())),  # nats
        pa.field("cluster", pa.string()),
        pa.field("tokens_in", pa.int32()),
        pa.field("tokens_out", pa.int32()),
        pa.field("prompt", pa.string()),  # the item's own question, for reports
        pa.field("choices", pa.list_(pa.string())),
        # the baseline's distribution of the answer's first token: top k by falling probability, and the rest
        pa.field("top_tokens", pa.list_(pa.int32())),
        pa.field("top_logprobs", pa.list_(pa.float16())),  # nats
        pa.field("tail_mass", pa.float32()),
        # the candidate's divergence from it, in nats (a lower bound: top k and tail), and whether the top token agrees
        pa.field("kl", pa.float32()),
        pa.field("same_top", pa.bool_()),
    ]
)
"""Columns of a data file. Files of other tools fill the required ones and leave the others null."""


@dataclass(frozen=True)
class TaskSamples:
    """All samples of one task by one model.

    Attributes
    ----------
    task, metric : str
    table : pyarrow.Table
        Rows in `SAMPLE_SCHEMA`, in any order.
    facets : mapping of str to str
        What decided the questions and the scoring; two sets are compared only where the facets that both
        have agree. Empty for files that do not say.
    reference : str or None
        Fingerprint of the model that the columns `kl` and `same_top` were measured against.
    stopped_of : int or None
        Number of items of the whole task, where the evaluation was stopped early on purpose.
    """

    task: str
    metric: str
    table: pa.Table
    facets: Mapping[str, str] = field(default_factory=dict)
    reference: str | None = None
    stopped_of: int | None = None


@dataclass(frozen=True)
class ModelSamples:
    """The samples of one model: one side of a comparison.

    Attributes
    ----------
    label : str
        The model's name, or the file's.
    tasks : mapping of str to TaskSamples
    about : mapping
        What is known of the model and the run, JSON-ready, for the report's provenance.
    notes : tuple of str
        What the reader wants the user to know (defaults it chose, rows it left out).
    """

    label: str
    tasks: Mapping[str, TaskSamples]
    about: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
