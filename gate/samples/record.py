"""The record of one evaluated item, and the samples of a task and of a model: what every reader returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1

SAMPLE_SCHEMA = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),  # SHA-256 of the canonical document
        pa.field("repeat", pa.int32(), nullable=False),
        pa.field("prompt_hash", pa.string()),  # SHA-256 of the text sent to the model
        pa.field("metric", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("correct", pa.bool_()),  # null if the score is not binary
        pa.field("output", pa.string()),  # generated text, or index of the chosen choice
        pa.field("target", pa.string()),
        pa.field("choice_logprobs", pa.list_(pa.float32())),  # nats
        pa.field("cluster", pa.string()),
        pa.field("tokens_in", pa.int32()),
        pa.field("tokens_out", pa.int32()),
        pa.field("prompt", pa.string()),  # without few-shot examples, for reports
        pa.field("choices", pa.list_(pa.string())),
        # baseline: the distribution of the answer's first token, its top k by decreasing probability and the rest
        pa.field("top_tokens", pa.list_(pa.int32())),
        pa.field("top_logprobs", pa.list_(pa.float16())),  # nats
        pa.field("tail_mass", pa.float32()),
        # candidate: KL divergence from that distribution in nats, and whether the top tokens agree
        pa.field("kl", pa.float32()),
        pa.field("same_top", pa.bool_()),
        # generated text: why it ended (stop: by end of text or a stop string; length: by max_tokens), the reasoning
        # that was separated from the output (shortened), and whether it closed, so that an answer followed
        pa.field("finish_reason", pa.string()),
        pa.field("reasoning", pa.string()),
        pa.field("reasoning_closed", pa.bool_()),
        # generated text: what is broken, names of `gate.common.broken.PROBLEMS` separated by spaces; "" if nothing is
        pa.field("problems", pa.string()),
        # baseline: tokens drawn from the rest of the distribution
        pa.field("drawn_tokens", pa.list_(pa.int32())),
        pa.field("drawn_logprobs", pa.list_(pa.float16())),  # nats
        # candidate: variance of `kl` over the drawn tokens; null where `kl` is a lower bound
        pa.field("kl_variance", pa.float32()),
        # the same along the answer after its first token; lists of several tokens per position are joined
        pa.field("answer_tokens", pa.int32()),  # number of positions of the answer or text
        pa.field("later_positions", pa.list_(pa.int32())),
        pa.field("later_top_tokens", pa.list_(pa.int32())),
        pa.field("later_top_logprobs", pa.list_(pa.float16())),
        pa.field("later_tail_mass", pa.list_(pa.float32())),
        pa.field("later_drawn_tokens", pa.list_(pa.int32())),
        pa.field("later_drawn_logprobs", pa.list_(pa.float16())),
        pa.field("later_kl", pa.list_(pa.float32())),
        pa.field("later_kl_variance", pa.list_(pa.float32())),
        pa.field("later_same_top", pa.list_(pa.bool_())),
        # text: log-probability of each token (nats). Generated text: the token ids
        pa.field("token_logprobs", pa.list_(pa.float32())),
        pa.field("text_tokens", pa.list_(pa.int32())),
        # text whose likelihood is scored: its words (at white space) and UTF-8 bytes, as the task counts them
        pa.field("text_words", pa.int32()),
        pa.field("text_bytes", pa.int32()),
    ]
)
"""Columns of a data file. Readers of other tools' files fill the required ones and leave the others null."""

_LATER_COLUMNS = tuple(SAMPLE_SCHEMA.names[SAMPLE_SCHEMA.names.index("finish_reason") :])
"""Columns that files of older versions lack."""


def with_later_columns(table: pa.Table) -> pa.Table:
    """Return a table of an older version with the columns that were added since, all null."""
    missing = [SAMPLE_SCHEMA.field(name) for name in _LATER_COLUMNS if name not in table.schema.names]
    for column in missing:
        table = table.append_column(column, pa.nulls(len(table), column.type))
    complete = missing and set(table.schema.names) == set(SAMPLE_SCHEMA.names)
    return table.select(SAMPLE_SCHEMA.names) if complete else table


@dataclass(frozen=True)
class TaskSamples:
    """All samples of one task by one model.

    Attributes
    ----------
    table : pyarrow.Table
        Rows in `SAMPLE_SCHEMA`, in any order.
    facets : mapping of str to str
        What determines prompts and scoring. Two sets are compared only if the facets that both have are equal. Empty
        for files that do not record it.
    reference : str or None
        Fingerprint of the model that the columns `kl` and `same_top` were measured against.
    stopped_of : int or None
        Number of items of the whole task if the evaluation was stopped early on purpose.
    files : tuple of str
        Names of the files that hold the samples; empty if not known.
    named_after_file : bool
        Whether the task's name is only that of its file, which may differ between two models.
    measured_texts : int or None
        Number of generated texts with stored distributions, a random sample; None if all answers should have one.
    """

    task: str
    metric: str
    table: pa.Table
    facets: Mapping[str, str] = field(default_factory=dict)
    reference: str | None = None
    stopped_of: int | None = None
    files: tuple[str, ...] = ()
    named_after_file: bool = False
    measured_texts: int | None = None

    @property
    def is_kl_sample(self) -> bool:
        """Whether distributions are stored of a random sample of the items, and of no fewer."""
        if self.measured_texts is None:
            return False
        return bool(self.measured_texts == len(self.table) - self.table.column("tail_mass").null_count)

    def to_pandas(self) -> pd.DataFrame:
        """Return the samples as a data frame.

        Returns
        -------
        pandas.DataFrame
            One row per sample, with the columns of `SAMPLE_SCHEMA`. Text is `string`. `repeat` is `int32` and `score`
            `float64`. The other columns can have nulls and are nullable: `boolean`, `Int32`, `Float32`. Lists are
            NumPy arrays in `object` columns, None where null.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from gate.samples import SAMPLE_SCHEMA, TaskSamples
        >>> row = {"task": "arc", "item_id": "i1", "repeat": 0, "metric": "acc", "score": 1.0, "correct": True}
        >>> samples = TaskSamples("arc", "acc", pa.Table.from_pylist([row], schema=SAMPLE_SCHEMA))
        >>> samples.to_pandas()[["item_id", "score", "correct", "kl"]]
          item_id  score  correct    kl
        0      i1    1.0     True  <NA>
        """
        return _to_pandas([self.table])


@dataclass(frozen=True)
class ModelSamples:
    """The samples of one model: one side of a comparison.

    Attributes
    ----------
    label : str
        Name of the model or of the file.
    about : mapping
        What is known of the model and the run, JSON-ready, for the report's provenance.
    notes : tuple of str
        Remarks of the reader for the user: defaults it chose, rows it skipped.
    unread : tuple of str
        Names of tasks that are there and were not read, because others were asked for.
    left_out : tuple of str
        One line per file that was found and not read: its name and the reason.
    """

    label: str
    tasks: Mapping[str, TaskSamples]
    about: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def to_pandas(self) -> pd.DataFrame:
        """Return the samples of all tasks as one data frame, one row per sample; see `TaskSamples.to_pandas`."""
        return _to_pandas(samples.table for samples in self.tasks.values())


def mean_scores(table: pa.Table) -> dict[str, float]:
    """Return the mean score of each item over its repeats, by item id."""
    grouped = table.group_by("item_id").aggregate([("score", "mean")])
    return dict(zip(grouped["item_id"].to_pylist(), grouped["score_mean"].to_pylist(), strict=True))


def _to_pandas(tables: Iterable[pa.Table]) -> pd.DataFrame:
    import pandas as pd

    dtypes = {
        pa.string(): pd.StringDtype(),
        pa.bool_(): pd.BooleanDtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.float32(): pd.Float32Dtype(),
    }
    table = pa.concat_tables([SAMPLE_SCHEMA.empty_table(), *tables])
    frame: pd.DataFrame = table.to_pandas(types_mapper=dtypes.get)
    return frame.astype({"repeat": "int32"})
